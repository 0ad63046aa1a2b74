//! The Kubernetes API: which kinds it has, and what it says of each.
//!
//! Only this file sees kube. Each kind has a list and watch of its own, which kube's watcher keeps
//! up over restarts of the server and over its forgetting (410 Gone); what comes is handed on in
//! order. A kind that is not there is looked for again, one that may not be read is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc::Sender;
use tracing::{info, warn};

use super::kinds::{KINDS, Kind};
use super::versions::Scope;

/// Time until a failed look for kinds is repeated.
const RETRY: Duration = Duration::from_secs(2);
const NOT_FOUND: u16 = 404;
const GONE: u16 = 410;
const FORBIDDEN: [u16; 2] = [401, 403];

/// What the API said.
#[derive(Debug)]
pub enum Said {
    /// Which kinds it has and which it lacks.
    Kinds {
        /// Kinds that are watched, in each of their scopes.
        present: Vec<Scope>,
        /// Kinds that it lacks.
        absent: Vec<&'static Kind>,
    },
    /// A list begins.
    Begin(Scope),
    /// An object of the list.
    Listed(Scope, Value),
    /// The list is complete.
    Done(Scope),
    /// A new object or version.
    Applied(Scope, Value),
    /// An object is gone.
    Deleted(Scope, Value),
    /// Reading failed and is tried again.
    Failed(Scope, Failure),
}

/// Why reading failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The kind is not there any more.
    #[error("the cluster lacks this kind now")]
    Absent,
    /// The recorder may not read it.
    #[error("may not be read: grant get, list and watch")]
    Refused,
    /// The server is away, or anything else.
    #[error("the API server cannot be read: {0}")]
    Other(String),
}

/// Looks for kinds again and again, and watches those that are there.
pub async fn follow(client: Client, namespaces: Vec<String>, every: Duration, said: Sender<Said>) {
    let mut watched = BTreeSet::new();
    let mut is_failing = false;
    loop {
        let found = match discover(&client).await {
            Ok(found) => found,
            Err(error) => {
                if !is_failing {
                    warn!("cannot ask the API server for its kinds, will try again: {error}");
                }
                is_failing = true;
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        is_failing = false;
        let mut present = Vec::new();
        for (kind, version) in &found.present {
            if !watched.insert(*kind) {
                continue;
            }
            for scope in scopes(kind, version, &namespaces) {
                info!(kind = kind.kind, version = scope.api_version, "recording");
                present.push(scope.clone());
                let api = api(&client, &scope, version);
                tokio::spawn(watch(api, scope, said.clone()));
            }
        }
        let absent = found
            .absent
            .into_iter()
            .filter(|kind| !watched.contains(kind));
        let kinds = Said::Kinds {
            present,
            absent: absent.collect(),
        };
        if said.send(kinds).await.is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

/// Which kinds the server has, and in which version they are read.
#[derive(Debug, Default)]
struct Found {
    present: BTreeMap<&'static Kind, &'static str>,
    absent: Vec<&'static Kind>,
}

async fn discover(client: &Client) -> kube::Result<Found> {
    let mut served = BTreeMap::new();
    let mut found = Found::default();
    for kind in &KINDS {
        if kind.is_core() {
            found.present.insert(kind, kind.versions[0]);
            continue;
        }
        let mut version = None;
        for candidate in kind.versions {
            let api_version = format!("{}/{candidate}", kind.group);
            if !served.contains_key(&api_version) {
                let plurals = served_kinds(client, &api_version).await?;
                served.insert(api_version.clone(), plurals);
            }
            if served[&api_version].contains(kind.plural) {
                version = Some(*candidate);
                break;
            }
        }
        match version {
            Some(version) => {
                found.present.insert(kind, version);
            }
            None => found.absent.push(kind),
        }
    }
    Ok(found)
}

/// Plural names of what a version of a group serves; nothing where it is not there.
async fn served_kinds(client: &Client, api_version: &str) -> kube::Result<BTreeSet<String>> {
    match client.list_api_group_resources(api_version).await {
        Ok(list) => Ok(list
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .collect()),
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn scopes(kind: &'static Kind, version: &str, namespaces: &[String]) -> Vec<Scope> {
    let scope = |namespace: Option<&String>| Scope {
        kind,
        api_version: kind.resource(version).api_version,
        namespace: namespace.cloned(),
    };
    if kind.is_namespaced && !namespaces.is_empty() {
        return namespaces.iter().map(|name| scope(Some(name))).collect();
    }
    vec![scope(None)]
}

fn api(client: &Client, scope: &Scope, version: &str) -> Api<DynamicObject> {
    let resource = scope.kind.resource(version);
    match &scope.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

async fn watch(api: Api<DynamicObject>, scope: Scope, said: Sender<Said>) {
    let events = watcher(api, watcher::Config::default()).default_backoff();
    hand_on(events, scope, said).await;
}

async fn hand_on(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    scope: Scope,
    said: Sender<Said>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let scope = scope.clone();
        let told = match event {
            Ok(Event::Init) => Some(Said::Begin(scope)),
            Ok(Event::InitApply(object)) => json(object).map(|object| Said::Listed(scope, object)),
            Ok(Event::InitDone) => Some(Said::Done(scope)),
            Ok(Event::Apply(object)) => json(object).map(|object| Said::Applied(scope, object)),
            Ok(Event::Delete(object)) => json(object).map(|object| Said::Deleted(scope, object)),
            // No failure: a list made anew says what was missed.
            Err(error) if code(&error) == GONE => {
                info!(
                    kind = scope.kind.kind,
                    "the server has forgotten what was watched (410 Gone): listing anew"
                );
                None
            }
            Err(error) => Some(Said::Failed(scope, Failure::of(&error))),
        };
        if let Some(told) = told
            && said.send(told).await.is_err()
        {
            return;
        }
    }
}

fn json(object: DynamicObject) -> Option<Value> {
    // What came as JSON is JSON.
    serde_json::to_value(object).ok()
}

/// The server's status code; 0 where it did not come that far.
fn code(error: &watcher::Error) -> u16 {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        _ => 0,
    }
}

impl Failure {
    /// Whether it is the server's own, and no single kind's.
    pub fn is_of_server(&self) -> bool {
        matches!(self, Self::Other(_))
    }

    fn of(error: &watcher::Error) -> Self {
        match code(error) {
            NOT_FOUND => Self::Absent,
            code if FORBIDDEN.contains(&code) => Self::Refused,
            _ => {
                let text = error.to_string();
                Self::Other(text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests;
