//! The API server's ways of failing, played by a mock: kinds that are not there, a list that may
//! not be read, and 410 Gone in the middle of a watch.

use kube::client::Body;
use serde_json::json;
use tokio::sync::mpsc;
use tower_test::mock;

use super::*;

type Request = axum::http::Request<Body>;
type Response = axum::http::Response<Body>;

fn answer(code: u16, body: &Value) -> Response {
    let body = Body::from(format!("{body}\n").into_bytes());
    let response = axum::http::Response::builder().status(code);
    response
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn refusal(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": reason,
    })
}

fn list(version: &str, items: &[Value]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PodList",
        "metadata": {"resourceVersion": version}, "items": items,
    })
}

fn pod(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": version}})
}

/// A client whose requests are answered, by path and query.
fn client(mut reply: impl FnMut(&str) -> Response + Send + 'static) -> Client {
    let (service, mut requests) = mock::pair::<Request, Response>();
    tokio::spawn(async move {
        while let Some((request, respond)) = requests.next_request().await {
            let path = request.uri().to_string();
            respond.send_response(reply(&path));
        }
    });
    Client::new(service, "default")
}

fn pods() -> Scope {
    scopes(&KINDS[0], "v1", &[]).remove(0)
}

#[tokio::test]
async fn kinds_that_are_not_there_are_absent_and_older_versions_are_taken() {
    let client = client(|path| match path {
        "/apis/crd.antrea.io/v1alpha2" => answer(
            200,
            &json!({"kind": "APIResourceList", "groupVersion": "crd.antrea.io/v1alpha2", "resources": [
                {"name": "egresses", "singularName": "", "namespaced": false, "kind": "Egress", "verbs": []},
            ]}),
        ),
        _ => answer(404, &refusal(404, "NotFound")),
    });
    let found = discover(&client).await.unwrap();
    let present: Vec<_> = found
        .present
        .iter()
        .map(|(kind, version)| (kind.kind, *version))
        .collect();
    assert!(present.contains(&("Egress", "v1alpha2")), "{present:?}");
    assert!(present.contains(&("Pod", "v1")), "{present:?}");
    assert!(
        found
            .absent
            .iter()
            .any(|kind| kind.kind == "ExternalIPPool")
    );
    assert_eq!(found.present.len() + found.absent.len(), KINDS.len());
}

#[tokio::test]
async fn a_server_that_fails_says_nothing_of_kinds() {
    let client = client(|_| answer(503, &refusal(503, "ServiceUnavailable")));
    assert!(discover(&client).await.is_err());
}

#[tokio::test]
async fn what_may_not_be_read_is_told() {
    let client = client(|_| answer(403, &refusal(403, "Forbidden")));
    let (sender, mut receiver) = mpsc::channel(16);
    let api = api(&client, &pods(), "v1");
    let task = tokio::spawn(watch(api, pods(), sender));
    let failure = loop {
        if let Said::Failed(_, failure) = receiver.recv().await.unwrap() {
            break failure;
        }
    };
    assert_eq!(failure, Failure::Refused);
    task.abort();
}

#[tokio::test]
async fn after_gone_the_list_is_made_anew() {
    let mut lists = 0;
    let client = client(move |path| {
        if path.contains("watch=true") {
            let gone = json!({"type": "ERROR", "object": refusal(410, "Expired")});
            return answer(200, &gone);
        }
        lists += 1;
        match lists {
            1 => answer(200, &list("10", &[pod("a", "1"), pod("b", "2")])),
            _ => answer(200, &list("20", &[pod("b", "2")])),
        }
    });
    let (sender, mut receiver) = mpsc::channel(64);
    let task = tokio::spawn(watch(api(&client, &pods(), "v1"), pods(), sender));
    let mut versions = super::super::versions::Versions::default();
    let mut rows = Vec::new();
    while rows.len() < 3 {
        match receiver.recv().await.unwrap() {
            Said::Begin(scope) => versions.begin_list(&scope),
            Said::Listed(scope, object) => rows.extend(versions.list(&scope, object, 1)),
            Said::Done(scope) => rows.extend(versions.end_list(&scope, 2)),
            _ => {}
        }
    }
    task.abort();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.event, row.name.as_str()))
        .collect();
    use trace_schema::objects::ObjectEvent::{Added, Deleted};
    assert_eq!(shown, [(Added, "a"), (Added, "b"), (Deleted, "a")]);
}
