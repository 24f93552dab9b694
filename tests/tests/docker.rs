//! `--builder docker`: the bytes of the host's way, dependencies from the engine's cache, and bad
//! input. One base and one story, because compiling from nothing takes minutes.

#![expect(clippy::print_stdout, reason = "what was measured is read in the log")]

use std::collections::BTreeMap;

use e2e::builder::{BuilderBase, engine_of_api, programs_in_builds};
use e2e::{Checkout, Image, Ran, docker, eventually, interrupt, request};

/// Below `services/`: what axon answers.
const REASON: &str = "services/axon/src/routes/reason.rs";

/// The layers of the dependencies, as an image.
const DEPENDENCIES: &str = "e2e-dependencies";
/// Our own crates: kit, axon, orbit, governance, and once more those that were stood in for.
const OURS: usize = 8;

#[test]
fn from_nothing_to_a_changed_line_and_bad_input() {
    let checkout = Checkout::fresh("docker");
    // What the host made of these sources came with the copy.
    let by_host = checkout.packed();
    let base = BuilderBase::import("e2e-builder-base");
    a_base_that_is_not_there_is_told(&checkout);
    an_engine_that_is_too_old_is_told(&checkout);
    a_full_disk_is_told(&checkout, &base);
    plain_docker_build_makes_both_from_nothing(&checkout, &base);
    both_ways_give_the_same_bytes(&checkout, &by_host);
    a_changed_line_compiles_one_crate(&checkout);
    an_older_engine_builds_by_its_classic_builder(&checkout, &base);
    what_was_built_runs(&checkout);
    a_compilers_error_is_told(&checkout);
    a_build_that_is_cancelled_ends_in_the_engine(&checkout, &base);
}

/// By `BuildKit`, on what the plain build left of the dependencies: its layers are the classic
/// builder's, of which the cache of `BuildKit` knows nothing.
fn in_docker(checkout: &Checkout) -> Ran {
    checkout.xtask(&["build", "--builder", &format!("docker={DEPENDENCIES}")])
}

/// How many crates were compiled for each thing that was built.
fn crates_compiled(ran: &Ran) -> Vec<(String, usize)> {
    let told = ran.stderr.lines().filter_map(|line| {
        let (thing, told) = line.split_once(" crates compiled in Docker: ")?;
        let (count, _) = told.split_once(',')?;
        Some((thing.trim().to_owned(), count.parse().expect("a number")))
    });
    told.collect()
}

/// Without xtask, and by the classic builder: this machine's command line has no other.
fn plain_docker_build_makes_both_from_nothing(checkout: &Checkout, base: &BuilderBase) {
    let axon = plain_build(
        checkout,
        base,
        &["--tag", "e2e-axon", "--build-arg", "SERVICE=axon"],
    );
    let orbit = plain_build(
        checkout,
        base,
        &["--tag", "e2e-orbit", "--build-arg", "SERVICE=orbit"],
    );
    println!("crates compiled from nothing: {axon} for axon, then {orbit} for orbit");
    assert!(axon > 100, "from nothing: {axon}");
    assert!(
        orbit <= OURS,
        "on the layers of axon's dependencies: {orbit}"
    );
    plain_build(
        checkout,
        base,
        &[
            "--tag",
            DEPENDENCIES,
            "--target",
            "dependencies",
            "--build-arg",
            "SERVICE=axon",
        ],
    );
}

/// Answers how many crates were compiled.
fn plain_build(checkout: &Checkout, base: &BuilderBase, options: &[&str]) -> usize {
    let root = checkout.root().to_string_lossy();
    let dockerfile = format!("{root}/services/Dockerfile");
    let base = format!("BUILDER_BASE={}", base.name());
    let arguments = ["build", "--file", &dockerfile, "--build-arg", &base, &root];
    let said = docker(&[&arguments[..], options].concat());
    said.matches("Compiling").count()
}

fn both_ways_give_the_same_bytes(checkout: &Checkout, by_host: &BTreeMap<String, Vec<u8>>) {
    let docker_ran = in_docker(checkout).expect(0, &["by BuildKit", "compiled in"]);
    assert!(sent_kilobytes(&docker_ran) <= 1000);
    let crates = crates_compiled(&docker_ran);
    assert_eq!(crates.len(), 3);
    assert!(crates.iter().all(|(_, count)| *count <= OURS), "{crates:?}");
    let plain = ["axon", "orbit"].map(|name| Image::named(&format!("e2e-{name}"), name));
    for plain in plain {
        let packed = Image::in_copy(checkout, plain.name());
        assert!(
            plain.binary() == packed.binary(),
            "the bytes of {}",
            plain.name()
        );
        let run = |image: &Image| image.inspect("{{.Config.User}} {{json .Config.Entrypoint}}");
        assert_eq!(run(&plain), run(&packed));
    }
    let by_docker = checkout.packed();
    assert_eq!(by_docker.len(), 3);
    assert!(by_docker == *by_host, "the bytes of all three things");
}

/// What the engine was sent, as the program tells it.
fn sent_kilobytes(ran: &Ran) -> usize {
    let (_, told) = ran.stderr.split_once("which gets ").expect("what is sent");
    let (count, _) = told.split_once(" kB").expect("kilobytes");
    count.parse().expect("a number")
}

fn a_changed_line_compiles_one_crate(checkout: &Checkout) {
    checkout.edit(REASON, "heartbeat OK", "heartbeat is fine");
    let docker = in_docker(checkout).expect(0, &[]);
    assert_eq!(crates_compiled(&docker), [("axon".to_owned(), 1)]);
    println!("after a changed line: {:?} in Docker", docker.took);
}

fn an_older_engine_builds_by_its_classic_builder(checkout: &Checkout, base: &BuilderBase) {
    let before = checkout.xtask(&["build"]).expect(0, &[]);
    checkout.forget_artefacts();
    let older = engine_of_api("1.38");
    let ran = checkout
        .xtask_with(
            &["build", "axon", "--builder", &base.way()],
            &[("DOCKER_HOST", &older)],
        )
        .expect(0, &["by the classic builder"]);
    assert!(before.stdout.contains(&ran.stdout), "axon's digest");
    let crates = crates_compiled(&ran);
    assert!(
        crates.iter().all(|(_, count)| *count <= 2),
        "dependencies are those of the plain build: {crates:?}"
    );
}

fn what_was_built_runs(checkout: &Checkout) {
    let axon = Image::in_copy(checkout, "axon").run(&[("SIGNATURES", "off")], &[]);
    let answer = request("GET", &axon.url("/reason"), &[], "").expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("heartbeat is fine"), "{answer:?}");
    // Running is being healthy.
    let orbit = Image::in_copy(checkout, "orbit").run(
        &[
            ("GOVERNANCE_FUNCTION_URL", "http://127.0.0.1:9/"),
            ("AXON_SERVICE_URL", "http://127.0.0.1:9/reason"),
            ("SIGNATURES", "off"),
        ],
        &[],
    );
    drop(orbit);
}

fn a_compilers_error_is_told(checkout: &Checkout) {
    checkout.edit(REASON, "State(clock)", "State(clocks)");
    let before = checkout.artefacts();
    in_docker(checkout).expect(
        10,
        &[
            "error[E0425]: cannot find value `clock` in this scope",
            "services/axon/src/routes/reason.rs",
            "build axon in Docker",
            "hint: mend what cargo says above",
        ],
    );
    assert_eq!(checkout.artefacts(), before, "nothing half-made");
    checkout.edit(REASON, "State(clocks)", "State(clock)");
}

fn a_build_that_is_cancelled_ends_in_the_engine(checkout: &Checkout, base: &BuilderBase) {
    let newest = engine_of_api("1.41");
    let older = engine_of_api("1.38");
    for (line, engine) in [("cancelled", newest), ("cancelled again", older)] {
        checkout.edit(
            REASON,
            "use axum::Json;",
            &format!("// {line}\nuse axum::Json;"),
        );
        let before = checkout.artefacts();
        let arguments = ["build", "axon", "--builder", &base.way()];
        let build = checkout.start_with(&arguments, &[("DOCKER_HOST", &engine)]);
        eventually("cargo runs in the engine", || programs_in_builds() > 0);
        interrupt(&build);
        Ran::of_child(build).expect(130, &["interrupted"]);
        eventually("nothing runs in the engine", || programs_in_builds() == 0);
        assert_eq!(checkout.artefacts(), before, "nothing half-made");
        assert_eq!(
            docker(&[
                "ps",
                "--all",
                "--quiet",
                "--filter",
                &format!("ancestor={}", base.name())
            ]),
            ""
        );
    }
}

fn a_base_that_is_not_there_is_told(checkout: &Checkout) {
    checkout.forget_artefacts();
    for api in ["1.41", "1.38"] {
        let engine = engine_of_api(api);
        checkout
            .xtask_with(
                &["build", "--builder", "docker=localhost:1/no-such-base:1"],
                &[("DOCKER_HOST", &engine)],
            )
            .expect(
                12,
                &[
                    "no base image localhost:1/no-such-base:1",
                    "--builder docker=IMAGE",
                ],
            );
    }
    assert!(checkout.artefacts().is_empty());
}

/// A compiler that writes to a full device stands in for an engine whose disk is full.
fn a_full_disk_is_told(checkout: &Checkout, base: &BuilderBase) {
    let recipe = format!(
        "FROM {}\nRUN echo 'cat /etc/builder-base > /dev/full' > /usr/local/rust/bin/rustc\n",
        base.name()
    );
    checkout.write("target/Dockerfile", &recipe);
    let file = checkout.root().join("target/Dockerfile");
    let folder = checkout.root().join("target/xtask");
    docker(&[
        "build",
        "--file",
        &file.to_string_lossy(),
        "--tag",
        "e2e-full",
        &folder.to_string_lossy(),
    ]);
    let ran = checkout.xtask(&["build", "--builder", "docker=e2e-full"]);
    docker(&["rmi", "e2e-full"]);
    ran.expect(12, &["the engine's disk is full", "docker builder prune"]);
}

fn an_engine_that_is_too_old_is_told(checkout: &Checkout) {
    let engine = engine_of_api("1.24");
    checkout
        .xtask_with(
            &["build", "--builder", "docker"],
            &[("DOCKER_HOST", &engine)],
        )
        .expect(
            12,
            &["is too old to build services/Dockerfile", "upgrade Docker"],
        );
}
