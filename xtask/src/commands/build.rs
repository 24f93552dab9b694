//! `build`: from the checkout's sources to images that are named by their digest.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::catalog::{Component, Service};
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::outputs::{Architecture, Outputs};
use crate::ports::{Builder, Registry};
use crate::release::push;
use crate::report::{BuildEvent, Report};

pub struct Request<'a> {
    pub components: &'a [Component],
    pub architecture: Architecture,
    /// Repositories are called `<project>/<name>`.
    pub project: &'a str,
    /// Where to push; without it no call of AWS is made.
    pub push: Option<Target<'a>>,
    /// Where to keep a copy of what was built, for `--artifacts`.
    pub out: Option<&'a Path>,
}

/// A registry, and the outputs that name its repositories.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub outputs: &'a Outputs,
    pub registry: &'a dyn Registry,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Built {
    name: Component,
    key: Key,
    digest: Digest,
    /// `repository@sha256:...`; a function has none.
    image: Option<String>,
}

pub async fn build(builder: &dyn Builder, report: &Report, request: &Request<'_>) -> Result<()> {
    let keys = builder.keys(request.architecture).await?;
    let mut digests = pushed_before(request, &keys).await?;
    let wanted: Vec<Component> = missing(request, &digests);
    let artifacts = cached_or_built(builder, report, request, &keys, &wanted).await?;
    if let Some(folder) = request.out {
        builder.bundle(&artifacts, folder).await?;
        report.emit(BuildEvent::Bundled {
            components: request.components.to_vec(),
            folder: folder.display().to_string(),
        });
    }
    for component in wanted {
        let artifact = &artifacts[&component];
        let is_pushed = digests.contains_key(&component);
        if let Some(target) = request.push.filter(|_| !is_pushed) {
            push(target.registry, target.outputs, report, artifact).await?;
        }
        digests.insert(component, artifact.digest.clone());
    }
    print(report, request, &keys, &digests);
    Ok(())
}

/// An image that the registry has under the same key was built of the same inputs, so it is left
/// out.
async fn pushed_before(
    request: &Request<'_>,
    keys: &BTreeMap<Component, Key>,
) -> Result<BTreeMap<Component, Digest>> {
    let mut digests = BTreeMap::new();
    let Some(target) = request.push else {
        return Ok(digests);
    };
    for service in request.components.iter().filter_map(|it| it.service()) {
        let key = &keys[&service.into()];
        if let Some(digest) = target.registry.digest(target.outputs, service, key).await? {
            digests.insert(service.into(), digest);
        }
    }
    Ok(digests)
}

fn missing(request: &Request<'_>, digests: &BTreeMap<Component, Digest>) -> Vec<Component> {
    let components = request.components.iter().copied();
    components
        .filter(|component| request.out.is_some() || !digests.contains_key(component))
        .collect()
}

async fn cached_or_built(
    builder: &dyn Builder,
    report: &Report,
    request: &Request<'_>,
    keys: &BTreeMap<Component, Key>,
    wanted: &[Component],
) -> Result<BTreeMap<Component, Artifact>> {
    let keys = wanted
        .iter()
        .map(|component| (*component, keys[component].clone()));
    let keys: BTreeMap<Component, Key> = keys.collect();
    let Some(artifacts) = builder.all_cached(&keys).await? else {
        return builder.build(request.architecture, &keys).await;
    };
    report.emit(BuildEvent::BuildUpToDate);
    Ok(artifacts)
}

fn print(
    report: &Report,
    request: &Request<'_>,
    keys: &BTreeMap<Component, Key>,
    digests: &BTreeMap<Component, Digest>,
) {
    let built: Vec<Built> = request
        .components
        .iter()
        .map(|component| {
            let digest = digests[component].clone();
            Built {
                name: *component,
                key: keys[component].clone(),
                image: component.service().map(|service| {
                    let repository = repository(request, service);
                    format!("{repository}@{digest}")
                }),
                digest,
            }
        })
        .collect();
    let lines: Vec<String> = built
        .iter()
        .map(|built| {
            let content = built.image.as_deref().unwrap_or(built.digest.as_str());
            format!("{} {content}", built.name)
        })
        .collect();
    report.data(&built, &lines.join("\n"));
}

fn repository(request: &Request<'_>, service: Service) -> String {
    request.push.map_or_else(
        || format!("{}/{service}", request.project),
        |target| target.outputs.image_name(service),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::catalog::Service;
    use crate::catalog::testing::{AXON, COMPONENTS, GOVERNANCE, ORBIT};
    use crate::decide::outputs;
    use crate::report::Format;
    use crate::report::testing::captured;

    /// A builder and a registry that write down what they are asked to do.
    #[derive(Default)]
    struct Fake {
        cached: Vec<Component>,
        pushed: Vec<Component>,
        done: Mutex<Vec<String>>,
    }

    fn artifact(component: Component) -> Artifact {
        Artifact {
            component,
            key: Key(component.name().to_owned()),
            digest: Digest::of(component.name().as_bytes()),
            file: component.name().into(),
            packed_bytes: 1,
            unpacked_bytes: 2,
        }
    }

    #[async_trait]
    impl Builder for Fake {
        async fn keys(&self, _: Architecture) -> Result<BTreeMap<Component, Key>> {
            Ok(COMPONENTS
                .map(|component| (component, artifact(component).key))
                .into())
        }

        async fn cached(&self, component: Component, _: &Key) -> Result<Option<Artifact>> {
            Ok(self
                .cached
                .contains(&component)
                .then(|| artifact(component)))
        }

        async fn build(
            &self,
            _: Architecture,
            keys: &BTreeMap<Component, Key>,
        ) -> Result<BTreeMap<Component, Artifact>> {
            let names: Vec<_> = keys.keys().map(|component| component.name()).collect();
            let built = format!("build {}", names.join(" "));
            self.done.lock().unwrap().push(built);
            Ok(keys
                .keys()
                .map(|component| (*component, artifact(*component)))
                .collect())
        }

        async fn bytes(&self, _: &Artifact) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        async fn bundle(
            &self,
            artifacts: &BTreeMap<Component, Artifact>,
            out: &Path,
        ) -> Result<()> {
            let names: Vec<_> = artifacts.keys().map(|component| component.name()).collect();
            let kept = format!("keep {} in {}", names.join(" "), out.display());
            self.done.lock().unwrap().push(kept);
            Ok(())
        }
    }

    #[async_trait]
    impl Registry for Fake {
        async fn digest(&self, _: &Outputs, service: Service, _: &Key) -> Result<Option<Digest>> {
            let component = service.into();
            Ok(self
                .pushed
                .contains(&component)
                .then(|| artifact(component).digest))
        }

        async fn has(&self, _: &Outputs, service: Service, _: &Digest) -> Result<bool> {
            let component = service.into();
            Ok(self.pushed.contains(&component))
        }

        async fn push(&self, _: &Outputs, _: Service, artifact: &Artifact) -> Result<()> {
            let pushed = format!("push {}", artifact.component);
            self.done.lock().unwrap().push(pushed);
            Ok(())
        }
    }

    /// What was done, and stdout.
    async fn run(
        fake: &Fake,
        components: &[Component],
        push: bool,
        format: Format,
    ) -> (String, String) {
        run_with(fake, components, push, None, format).await
    }

    async fn run_with(
        fake: &Fake,
        components: &[Component],
        push: bool,
        out: Option<&Path>,
        format: Format,
    ) -> (String, String) {
        let (report, data, _) = captured(format);
        let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
        let request = Request {
            components,
            architecture: Architecture::X86,
            project: "demo",
            push: push.then_some(Target {
                outputs: &outputs,
                registry: fake,
            }),
            out,
        };
        build(fake, &report, &request).await.unwrap();
        (fake.done.lock().unwrap().join(", "), data.text())
    }

    #[tokio::test]
    async fn without_a_push_names_are_those_of_the_project() {
        let fake = Fake::default();
        let (done, data) = run(&fake, &COMPONENTS, false, Format::Human).await;
        assert_eq!(done, "build governance axon orbit");
        let digest = |component| artifact(component).digest;
        assert_eq!(
            data,
            format!(
                "governance {}\naxon demo/axon@{}\norbit demo/orbit@{}\n",
                digest(Component::Function(GOVERNANCE)),
                digest(Component::Service(AXON)),
                digest(Component::Service(ORBIT))
            )
        );
    }

    #[tokio::test]
    async fn only_what_is_asked_for_is_built_and_only_once() {
        let fake = Fake {
            cached: vec![Component::Service(AXON)],
            ..Fake::default()
        };
        let (done, data) = run(&fake, &[Component::Service(AXON)], false, Format::Human).await;
        assert_eq!(done, "");
        assert!(data.starts_with("axon demo/axon@sha256:"), "{data}");
        assert_eq!(data.lines().count(), 1);
        let (done, _) = run(&fake, &[Component::Service(ORBIT)], false, Format::Human).await;
        assert_eq!(done, "build orbit");
    }

    #[tokio::test]
    async fn only_what_the_registry_lacks_is_pushed() {
        let fake = Fake {
            pushed: vec![Component::Service(AXON)],
            ..Fake::default()
        };
        let (done, data) = run(&fake, &COMPONENTS, true, Format::Human).await;
        assert_eq!(done, "build governance orbit, push orbit");
        assert!(
            data.contains("axon localhost:4577/demo/axon@sha256:"),
            "{data}"
        );

        let fake = Fake {
            pushed: vec![Component::Service(AXON), Component::Service(ORBIT)],
            ..Fake::default()
        };
        let (done, _) = run(
            &fake,
            &[Component::Service(AXON), Component::Service(ORBIT)],
            true,
            Format::Human,
        )
        .await;
        assert_eq!(done, "");
    }

    #[tokio::test]
    async fn all_that_is_asked_for_is_kept_whatever_the_registry_has() {
        let fake = Fake {
            pushed: vec![Component::Service(AXON)],
            ..Fake::default()
        };
        let out = Some(Path::new("there"));
        let (done, _) = run_with(&fake, &COMPONENTS, true, out, Format::Human).await;
        assert_eq!(
            done,
            "build governance axon orbit, keep governance axon orbit in there, push orbit"
        );
    }

    #[tokio::test]
    async fn json_is_a_list_of_what_was_built() {
        let fake = Fake {
            cached: COMPONENTS.to_vec(),
            ..Fake::default()
        };
        let (_, data) = run(
            &fake,
            &[Component::Function(GOVERNANCE), Component::Service(AXON)],
            false,
            Format::Json,
        )
        .await;
        let line = data.lines().last().unwrap();
        let list: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(list[0]["name"], "governance");
        assert_eq!(list[0]["image"], serde_json::Value::Null);
        assert!(list[1]["image"].as_str().unwrap().starts_with("demo/axon@"));
    }
}
