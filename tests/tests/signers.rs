//! Axon accepts signatures of independent signers: curl and botocore.

#![expect(clippy::disallowed_methods, reason = "the signers are programs")]

use std::path::Path;
use std::process::Command;

use e2e::{CheckoutCopy, SignedAxon};

/// Sends a request that curl signs with `SignedAxon`'s pair; returns the status.
fn curl(axon: &SignedAxon, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--output", "/dev/null"])
        .args(["--write-out", "%{http_code}"])
        .args(["--aws-sigv4", "aws:amz:eu-west-1:axon"])
        .args(["--user", &format!("{}:{}", axon.key_id, axon.secret)])
        .args(["--header", "X-Correlation-ID: by-curl"])
        .args(arguments);
    ran(command)
}

/// Signs with botocore, sends with the standard library, and prints the status.
const BOTOCORE: &str = r#"
import sys, urllib.error, urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

url, key_id, secret, method, body = sys.argv[1:]
headers = {"X-Correlation-ID": "by-botocore", "Content-Type": "text/plain"}
signed = AWSRequest(method=method, url=url, data=body.encode(), headers=headers)
SigV4Auth(Credentials(key_id, secret), "axon", "eu-west-1").add_auth(signed)
request = urllib.request.Request(url, data=body.encode() or None, method=method)
for name, value in signed.headers.items():
    request.add_header(name, value)
try:
    print(urllib.request.urlopen(request, timeout=10).status, end="")
except urllib.error.HTTPError as error:
    print(error.code, end="")
"#;

fn botocore(python: &Path, axon: &SignedAxon, secret: &str, path: &str, method: &str) -> String {
    let body = if method == "GET" { "" } else { "a body" };
    let url = axon.url(path);
    let mut command = Command::new(python);
    command
        .args(["-I", "-c", BOTOCORE])
        .args([&url, axon.key_id, secret, method, body]);
    ran(command)
}

fn ran(mut command: Command) -> String {
    let output = command.output().expect("the signer can be run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn requests_that_curl_signed_are_accepted() {
    let axon = SignedAxon::start();
    let url = axon.url("/reason");
    assert_eq!(curl(&axon, &[&url]), "200");
    // curl signs the query as given, without sorting it: here the parameters must be in order.
    let query = axon.url("/reason?a=1&b=two");
    assert_eq!(curl(&axon, &[&query]), "200");
    assert_eq!(curl(&axon, &["--http2-prior-knowledge", &url]), "200");
    let body = ["--request", "GET", "--data", "a body"];
    assert_eq!(curl(&axon, &[&body[..], &[&url]].concat()), "200");
    let wrong = ["--user", &format!("{}:wrong", axon.key_id), &url];
    assert_eq!(curl(&axon, &wrong), "403");
    let unknown = ["--user", &format!("UNKNOWN:{}", axon.secret), &url];
    assert_eq!(curl(&axon, &unknown), "403");
    let region = ["--aws-sigv4", "aws:amz:us-east-1:axon", &url];
    assert_eq!(curl(&axon, &region), "401");
}

#[test]
fn requests_that_botocore_signed_are_accepted() {
    let checkout = CheckoutCopy::fresh("signers");
    checkout.xtask(&["local", "up"]).expect(0, &[]);
    let python = checkout.python();
    let axon = SignedAxon::start();
    let ask = |secret, path, method| botocore(&python, &axon, secret, path, method);
    assert_eq!(ask(axon.secret, "/reason", "GET"), "200");
    assert_eq!(ask(axon.secret, "/reason?b=2&a=%20x&a=1", "GET"), "200");
    assert_eq!(ask("wrong", "/reason", "GET"), "403");
    assert_eq!(ask(axon.secret, "/reason", "POST"), "405");
    checkout.xtask(&["local", "down"]).expect(0, &[]);
}
