use std::io::Write as _;
use std::net::TcpStream;

use crate::process::ORBIT;
use kit_testing::process::ServiceProcess;
use kit_testing::stub::StubServer;

/// Two dispatches wait for a governance that does not answer; a third connection is idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_off_and_the_exit_code_says_so() {
    for (requests, exit_code) in [(0, 0), (2, 1)] {
        let (asked, mut governance_asked) = tokio::sync::mpsc::unbounded_channel();
        let governance = StubServer::start(move |_| {
            asked.send(()).unwrap();
            None
        })
        .await;
        let variables = [
            ("PORT", "0"),
            ("DRAIN_MS", "60000"),
            ("GOVERNANCE_FUNCTION_URL", &*governance.url("/")),
            ("AXON_SERVICE_URL", "http://127.0.0.1:9/"),
        ];
        let mut orbit = ServiceProcess::start(ORBIT, &variables);
        let address = orbit.address();
        let _idle = TcpStream::connect(address).unwrap();
        let mut in_flight = Vec::new();
        for _ in 0..requests {
            let mut stream = TcpStream::connect(address).unwrap();
            let request = "POST /dispatch HTTP/1.1\r\nHost: orbit\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            governance_asked.recv().await.unwrap();
            in_flight.push(stream);
        }
        orbit.terminate();
        orbit.wait_for("draining");
        orbit.terminate();
        let (code, log) = orbit.end();
        assert_eq!(code, Some(exit_code), "{log:?}");
        let cut_off = log.iter().find(|line| line["requests"].is_u64());
        assert_eq!(
            cut_off.map(|line| line["requests"].clone()),
            (requests > 0).then(|| requests.into())
        );
    }
}
