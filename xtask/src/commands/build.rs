//! `build`: from the checkout's sources to images that are named by their digest.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::catalog::Thing;
use crate::decide::image::{Artefact, Digest, Key};
use crate::decide::site::{Architecture, Site};
use crate::report::Report;
use crate::world::{Builder, Registry};

pub struct Request<'a> {
    pub things: &'a [Thing],
    pub architecture: Architecture,
    /// Repositories are called `<project>/<name>`.
    pub project: &'a str,
    /// Where to push. Nothing here needs AWS without it.
    pub push: Option<Target<'a>>,
    /// Where to keep a copy of what was built, for `--artifacts`.
    pub out: Option<&'a Path>,
}

/// A registry, and the site that says how its images are called.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub site: &'a Site,
    pub registry: &'a dyn Registry,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Built {
    name: Thing,
    key: Key,
    digest: Digest,
    /// `repository@sha256:...`; a function has none.
    image: Option<String>,
}

pub async fn build(builder: &dyn Builder, report: &Report, request: &Request<'_>) -> Result<()> {
    let keys = builder.keys(request.architecture).await?;
    let mut digests = pushed_before(request, &keys).await?;
    let wanted: Vec<Thing> = missing(request, &digests);
    let artefacts = at_hand_or_built(builder, report, request, &keys, &wanted).await?;
    if let Some(folder) = request.out {
        builder.bundle(&artefacts, folder).await?;
        let names = request.things.iter().map(ToString::to_string);
        let names: Vec<_> = names.collect();
        let text = format!("kept {} in {}", names.join(", "), folder.display());
        report.line("build", &text);
    }
    for thing in wanted {
        let artefact = &artefacts[&thing];
        let is_pushed = digests.contains_key(&thing) || !thing.is_service();
        if let Some(target) = request.push.filter(|_| !is_pushed) {
            target.registry.push(artefact).await?;
            report.line(thing.name(), &format!("pushed {}", artefact.digest));
        }
        digests.insert(thing, artefact.digest.clone());
    }
    print(report, request, &keys, &digests);
    Ok(())
}

/// What the registry holds under these keys was built of the same inputs: there is nothing to do.
async fn pushed_before(
    request: &Request<'_>,
    keys: &BTreeMap<Thing, Key>,
) -> Result<BTreeMap<Thing, Digest>> {
    let mut digests = BTreeMap::new();
    let Some(target) = request.push else {
        return Ok(digests);
    };
    for thing in request.things.iter().filter(|thing| thing.is_service()) {
        if let Some(digest) = target.registry.digest(*thing, &keys[thing]).await? {
            digests.insert(*thing, digest);
        }
    }
    Ok(digests)
}

fn missing(request: &Request<'_>, digests: &BTreeMap<Thing, Digest>) -> Vec<Thing> {
    let things = request.things.iter().copied();
    things
        .filter(|thing| request.out.is_some() || !digests.contains_key(thing))
        .collect()
}

async fn at_hand_or_built(
    builder: &dyn Builder,
    report: &Report,
    request: &Request<'_>,
    keys: &BTreeMap<Thing, Key>,
    wanted: &[Thing],
) -> Result<BTreeMap<Thing, Artefact>> {
    let keys = wanted.iter().map(|thing| (*thing, keys[thing].clone()));
    let keys: BTreeMap<Thing, Key> = keys.collect();
    let Some(artefacts) = builder.all_at_hand(&keys).await? else {
        return builder.build(request.architecture, &keys).await;
    };
    report.line("build", "up to date: nothing to compile");
    Ok(artefacts)
}

fn print(
    report: &Report,
    request: &Request<'_>,
    keys: &BTreeMap<Thing, Key>,
    digests: &BTreeMap<Thing, Digest>,
) {
    let built: Vec<Built> = request
        .things
        .iter()
        .map(|thing| {
            let digest = digests[thing].clone();
            Built {
                name: *thing,
                key: keys[thing].clone(),
                image: thing.is_service().then(|| {
                    let repository = repository(request, *thing);
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

fn repository(request: &Request<'_>, thing: Thing) -> String {
    request.push.map_or_else(
        || format!("{}/{thing}", request.project),
        |target| target.site.image_name(thing),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::catalog::ALL;
    use crate::decide::site;
    use crate::report::Format;
    use crate::report::testing::captured;

    /// A builder and a registry that write down what they are asked to do.
    #[derive(Default)]
    struct Fake {
        at_hand: Vec<Thing>,
        pushed: Vec<Thing>,
        done: Mutex<Vec<String>>,
    }

    fn artefact(thing: Thing) -> Artefact {
        Artefact {
            thing,
            key: Key(thing.name().to_owned()),
            digest: Digest::of(thing.name().as_bytes()),
            file: thing.name().into(),
            packed_bytes: 1,
            unpacked_bytes: 2,
        }
    }

    #[async_trait]
    impl Builder for Fake {
        async fn keys(&self, _: Architecture) -> Result<BTreeMap<Thing, Key>> {
            Ok(ALL.map(|thing| (thing, artefact(thing).key)).into())
        }

        async fn at_hand(&self, thing: Thing, _: &Key) -> Result<Option<Artefact>> {
            Ok(self.at_hand.contains(&thing).then(|| artefact(thing)))
        }

        async fn build(
            &self,
            _: Architecture,
            keys: &BTreeMap<Thing, Key>,
        ) -> Result<BTreeMap<Thing, Artefact>> {
            let names: Vec<_> = keys.keys().map(|thing| thing.name()).collect();
            let built = format!("build {}", names.join(" "));
            self.done.lock().unwrap().push(built);
            Ok(keys
                .keys()
                .map(|thing| (*thing, artefact(*thing)))
                .collect())
        }

        async fn bytes(&self, _: &Artefact) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        async fn bundle(&self, artefacts: &BTreeMap<Thing, Artefact>, out: &Path) -> Result<()> {
            let names: Vec<_> = artefacts.keys().map(|thing| thing.name()).collect();
            let kept = format!("keep {} in {}", names.join(" "), out.display());
            self.done.lock().unwrap().push(kept);
            Ok(())
        }
    }

    #[async_trait]
    impl Registry for Fake {
        async fn digest(&self, thing: Thing, _: &Key) -> Result<Option<Digest>> {
            Ok(self.pushed.contains(&thing).then(|| artefact(thing).digest))
        }

        async fn has(&self, thing: Thing, _: &Digest) -> Result<bool> {
            Ok(self.pushed.contains(&thing))
        }

        async fn push(&self, artefact: &Artefact) -> Result<()> {
            let pushed = format!("push {}", artefact.thing);
            self.done.lock().unwrap().push(pushed);
            Ok(())
        }
    }

    /// What was done, and stdout.
    async fn run(fake: &Fake, things: &[Thing], push: bool, format: Format) -> (String, String) {
        run_with(fake, things, push, None, format).await
    }

    async fn run_with(
        fake: &Fake,
        things: &[Thing],
        push: bool,
        out: Option<&Path>,
        format: Format,
    ) -> (String, String) {
        let (report, data, _) = captured(format);
        let (site, _) = site::parse(site::testing::LOCAL).unwrap();
        let request = Request {
            things,
            architecture: Architecture::X86,
            project: "demo",
            push: push.then_some(Target {
                site: &site,
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
        let (done, data) = run(&fake, &ALL, false, Format::Human).await;
        assert_eq!(done, "build governance axon orbit");
        let digest = |thing| artefact(thing).digest;
        assert_eq!(
            data,
            format!(
                "governance {}\naxon demo/axon@{}\norbit demo/orbit@{}\n",
                digest(Thing::Governance),
                digest(Thing::Axon),
                digest(Thing::Orbit)
            )
        );
    }

    #[tokio::test]
    async fn only_what_is_asked_for_is_built_and_only_once() {
        let fake = Fake {
            at_hand: vec![Thing::Axon],
            ..Fake::default()
        };
        let (done, data) = run(&fake, &[Thing::Axon], false, Format::Human).await;
        assert_eq!(done, "");
        assert!(data.starts_with("axon demo/axon@sha256:"), "{data}");
        assert_eq!(data.lines().count(), 1);
        let (done, _) = run(&fake, &[Thing::Orbit], false, Format::Human).await;
        assert_eq!(done, "build orbit");
    }

    #[tokio::test]
    async fn only_what_the_registry_lacks_is_pushed() {
        let fake = Fake {
            pushed: vec![Thing::Axon],
            ..Fake::default()
        };
        let (done, data) = run(&fake, &ALL, true, Format::Human).await;
        assert_eq!(done, "build governance orbit, push orbit");
        assert!(
            data.contains("axon localhost:4577/demo/axon@sha256:"),
            "{data}"
        );

        let fake = Fake {
            pushed: vec![Thing::Axon, Thing::Orbit],
            ..Fake::default()
        };
        let (done, _) = run(&fake, &[Thing::Axon, Thing::Orbit], true, Format::Human).await;
        assert_eq!(done, "");
    }

    #[tokio::test]
    async fn all_that_is_asked_for_is_kept_whatever_the_registry_has() {
        let fake = Fake {
            pushed: vec![Thing::Axon],
            ..Fake::default()
        };
        let out = Some(Path::new("there"));
        let (done, _) = run_with(&fake, &ALL, true, out, Format::Human).await;
        assert_eq!(
            done,
            "build governance axon orbit, keep governance axon orbit in there, push orbit"
        );
    }

    #[tokio::test]
    async fn json_is_a_list_of_what_was_built() {
        let fake = Fake {
            at_hand: ALL.to_vec(),
            ..Fake::default()
        };
        let (_, data) = run(
            &fake,
            &[Thing::Governance, Thing::Axon],
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
