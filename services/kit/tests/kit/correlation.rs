//! The correlation id for arbitrary headers.

use axum::body::Body;
use axum::routing::get;
use http::{HeaderValue, Request};
use proptest::prelude::*;
use service_kit::{CorrelationId, Routes};

use crate::test_app::test_app;

/// The answered id for a header of these bytes; `None` where it is not a valid header.
fn answered(bytes: &[u8]) -> Option<String> {
    let (app, _) = test_app(&[], |_| Routes::new().open("/", get(async || "")));
    let sent = HeaderValue::from_bytes(bytes).ok()?;
    let request = Request::get("/")
        .header("Host", "x")
        .header("x-correlation-id", sent);
    let request = request.body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let response = runtime.block_on(app.answer(request));
    let ids: Vec<_> = response
        .headers()
        .get_all("x-correlation-id")
        .iter()
        .collect();
    assert_eq!(ids.len(), 1);
    Some(ids[0].to_str().unwrap().to_owned())
}

fn check(sent: &[u8]) {
    let Some(id) = answered(sent) else { return };
    assert!(CorrelationId::parse(&id).is_some(), "{id:?}");
    let fit = std::str::from_utf8(sent)
        .ok()
        .and_then(CorrelationId::parse);
    assert_eq!(fit.is_some(), id.as_bytes() == sent, "{sent:?}");
}

proptest! {
    #[test]
    fn a_fit_id_is_kept(sent in "[A-Za-z0-9._-]{1,128}") {
        let answered = answered(sent.as_bytes());
        prop_assert_eq!(answered, Some(sent));
    }

    #[test]
    fn any_bytes_are_kept_or_replaced_by_a_fit_id(
        sent in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        check(&sent);
    }

    #[test]
    fn one_odd_byte_or_one_too_many_is_replaced(
        mut sent in "[A-Za-z0-9._-]{0,130}".prop_map(String::into_bytes),
        odd in any::<u8>(),
        at in any::<prop::sample::Index>(),
    ) {
        sent.insert(at.index(sent.len() + 1), odd);
        check(&sent);
    }
}
