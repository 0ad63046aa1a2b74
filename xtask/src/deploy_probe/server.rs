//! The API server: applying, comparing and deleting our objects, as field manager `weighbridge`.
//!
//! Server-side apply gives the server's own verdict on every field, and takes back what a later
//! rendering no longer has. It refuses to take a field from another manager unless told to.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::manifests::PART_OF;

/// Name under which fields are owned.
const FIELD_MANAGER: &str = "weighbridge";
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Kinds that a deployment may hold, in the order in which they are taken away.
const KINDS: [(&str, &str, &str); 6] = [
    ("apps", "v1", "DaemonSet"),
    ("apps", "v1", "Deployment"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("", "v1", "ServiceAccount"),
    ("scheduling.k8s.io", "v1", "PriorityClass"),
];

/// A cluster's API server.
pub struct Server {
    /// For what this file does not do.
    pub client: Client,
    /// The context that leads there.
    pub context: String,
}

/// How objects are applied.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Ask the server, and change nothing.
    pub dry_run: bool,
    /// Take fields that another manager owns.
    pub force: bool,
}

/// What applying made of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there and differed.
    Changed,
    /// It was there already, as it should be.
    Unchanged,
    /// It was there and no longer belongs.
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        })
    }
}

impl Server {
    /// The server of a context of the kubeconfig, or of its current one.
    pub async fn connect(context: Option<&str>) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read().context(
            "no kubeconfig: make a cluster (`cargo xtask cluster up`), or set KUBECONFIG",
        )?;
        let name = match context.or(kubeconfig.current_context.as_deref()) {
            Some(name) => name.to_owned(),
            None => bail!("the kubeconfig has no current context: give --context"),
        };
        if !kubeconfig.contexts.iter().any(|known| known.name == name) {
            let known: Vec<_> = kubeconfig
                .contexts
                .iter()
                .map(|c| c.name.as_str())
                .collect();
            bail!(
                "--context {name}: not in the kubeconfig, which has {}",
                known.join(", ")
            );
        }
        let options = KubeConfigOptions {
            context: Some(name.clone()),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("context {name}"))?;
        config.read_timeout = Some(REQUEST_TIMEOUT);
        let client = Client::try_from(config).with_context(|| format!("context {name}"))?;
        let server = Self {
            client,
            context: name,
        };
        server.client.apiserver_version().await.with_context(|| {
            format!(
                "the API server of context {} does not answer",
                server.context
            )
        })?;
        Ok(server)
    }

    /// Refuses to move into a namespace that somebody else made.
    pub async fn require_own(&self, namespace: &str) -> anyhow::Result<Option<DynamicObject>> {
        let found = self.namespaces().get_opt(namespace).await?;
        let labels = found
            .as_ref()
            .and_then(|found| found.metadata.labels.as_ref());
        let ours =
            labels.is_some_and(|labels| labels.get(PART_OF.0).is_some_and(|v| v == PART_OF.1));
        if found.is_some() && !ours {
            bail!(
                "--namespace {namespace}: is there and is not weighbridge's, and undeploy-probe would delete it; name one of its own"
            );
        }
        Ok(found)
    }

    /// Refuses a second deployment: what both would share has no namespace, and either would take it
    /// from the other.
    async fn require_only(&self, namespace: &str) -> anyhow::Result<()> {
        let ours = ListParams::default().labels(&format!("{}={}", PART_OF.0, PART_OF.1));
        let list = self.namespaces().list(&ours).await;
        for found in list.context("listing namespaces")? {
            let name = found.metadata.name.unwrap_or_default();
            if name != namespace {
                bail!(
                    "--namespace {namespace}: weighbridge is in namespace {name} of this cluster; `cargo xtask undeploy-probe --namespace {name}` takes it away"
                );
            }
        }
        Ok(())
    }

    /// Applies objects one by one and says what came of each.
    pub async fn apply(
        &self,
        objects: &[Value],
        namespace: &str,
        manner: Manner,
    ) -> anyhow::Result<Vec<(String, Change)>> {
        // A dry run makes no namespace, so what lies in it is tried where one is.
        let stand_in = manner.dry_run && self.require_own(namespace).await?.is_none();
        self.require_only(namespace).await?;
        let mut changes = Vec::new();
        for object in objects {
            let mut object = object.clone();
            if stand_in && object["metadata"]["namespace"] == json!(namespace) {
                object["metadata"]["namespace"] = json!("default");
            }
            let change = self
                .apply_one(&object, manner)
                .await
                .with_context(|| format!("applying {}", title(&object)))?;
            changes.push((title(&object), change));
        }
        Ok(changes)
    }

    async fn apply_one(&self, object: &Value, manner: Manner) -> anyhow::Result<Change> {
        let api = self.api_of(object)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let before = api.get_opt(name).await?;
        let parameters = PatchParams {
            dry_run: manner.dry_run,
            force: manner.force,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let after = api
            .patch(name, &parameters, &Patch::Apply(object))
            .await
            .map_err(explained)?;
        Ok(match before {
            None => Change::Created,
            Some(before) if said(&before) == said(&after) => Change::Unchanged,
            Some(_) => Change::Changed,
        })
    }

    /// Takes away what an earlier deployment left and this one does not have.
    pub async fn prune(
        &self,
        keep: &[Value],
        namespace: &str,
        dry_run: bool,
    ) -> anyhow::Result<Vec<(String, Change)>> {
        let kept: Vec<String> = keep.iter().map(title).collect();
        let mut changes = Vec::new();
        for object in self.ours(namespace).await? {
            let name = title(&object);
            if !kept.contains(&name) {
                self.delete(&object, dry_run).await?;
                changes.push((name, Change::Removed));
            }
        }
        Ok(changes)
    }

    /// Every object that carries our label, workloads first; the namespace is not among them.
    pub async fn ours(&self, namespace: &str) -> anyhow::Result<Vec<Value>> {
        let ours = ListParams::default().labels(&format!("{}={}", PART_OF.0, PART_OF.1));
        let mut found = Vec::new();
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = match is_namespaced(kind) {
                true => Api::namespaced_with(self.client.clone(), namespace, &resource),
                false => Api::all_with(self.client.clone(), &resource),
            };
            let list = api
                .list(&ours)
                .await
                .with_context(|| format!("listing {kind} objects"))?;
            for object in list {
                let mut value = serde_json::to_value(&object).context("an object as JSON")?;
                value["apiVersion"] = json!(resource.api_version);
                value["kind"] = json!(kind);
                found.push(value);
            }
        }
        Ok(found)
    }

    /// Deletes an object; one that is gone already is no error.
    pub async fn delete(&self, object: &Value, dry_run: bool) -> anyhow::Result<()> {
        let mut parameters = DeleteParams::background();
        parameters.dry_run = dry_run;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match self.api_of(object)?.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("deleting {}", title(object))),
        }
    }

    /// All namespaces.
    pub fn namespaces(&self) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
        Api::all_with(self.client.clone(), &resource)
    }

    fn api_of(&self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let text = |field: &str| {
            let value = object[field].as_str();
            value.ok_or_else(|| anyhow!("an object without {field}"))
        };
        let (group, version) = match text("apiVersion")?.split_once('/') {
            Some(split) => split,
            None => ("", text("apiVersion")?),
        };
        let kind = GroupVersionKind::gvk(group, version, text("kind")?);
        let resource = ApiResource::from_gvk(&kind);
        Ok(match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }
}

fn is_namespaced(kind: &str) -> bool {
    ["DaemonSet", "Deployment", "ServiceAccount"].contains(&kind)
}

/// Kind and name, as kubectl writes them.
pub fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let kind = text(&object["kind"]).to_lowercase();
    format!("{kind}/{}", text(&object["metadata"]["name"]))
}

/// An object without what the server keeps books of.
fn said(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    value
}

fn explained(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 409 => anyhow!(
            "{}; another manager set these fields: --force-conflicts takes them",
            status.message
        ),
        kube::Error::Api(status) => anyhow!("{}", status.message),
        other => other.into(),
    }
}
