//! `--builder docker`: the same bytes as the host compiles, dependencies from the engine's cache, and
//! bad input. One base and one test, because compiling from nothing takes minutes.

#![expect(clippy::print_stdout, reason = "the log shows what was measured")]

use e2e::builder::{BuilderBase, engine_of_api, programs_in_builds};
use e2e::{CheckoutCopy, Image, Ran, docker, eventually, interrupt, request};

/// The source of axon's answer.
const REASON: &str = "services/axon/src/routes/reason.rs";

/// The layers of the dependencies, as an image.
const DEPENDENCIES: &str = "e2e-dependencies";
/// Our own crates: kit, axon, orbit and governance, each as an empty stub and as itself.
const OURS: usize = 8;

#[test]
fn from_nothing_to_a_changed_line_and_bad_input() {
    let checkout = CheckoutCopy::fresh("docker");
    // The host's artifacts of these sources came with the copy.
    let axon_by_host = Image::of(&checkout, "axon");
    let by_host = ["orbit", "governance"].map(|component| (component, checkout.packed(component)));
    let base = BuilderBase::import("e2e-builder-base");
    a_missing_base_is_reported(&checkout);
    an_engine_that_is_too_old_is_reported(&checkout);
    a_full_disk_is_reported(&checkout, &base);
    plain_docker_build_makes_axon_from_nothing(&checkout, &base, &axon_by_host);
    the_classic_builder_makes_the_others(&checkout, &base, &by_host);
    a_changed_line_compiles_no_dependency(&checkout);
    what_was_built_runs(&checkout);
    a_compilers_error_is_reported(&checkout);
    a_cancelled_build_ends_in_the_engine(&checkout, &base);
}

/// With `BuildKit`, on the image of the plain build's dependencies: the plain build used the classic
/// builder, whose layers are not in `BuildKit`'s cache.
fn in_docker(checkout: &CheckoutCopy, service: &str) -> Ran {
    let builder = format!("docker={DEPENDENCIES}");
    checkout.xtask(&["build", service, "--builder", &builder])
}

/// The number of crates that were compiled for each built component.
fn crates_compiled(ran: &Ran) -> Vec<(String, usize)> {
    let output = ran.stderr.lines().filter_map(|line| {
        let (component, output) = line.split_once(" crates compiled in Docker: ")?;
        let (count, _) = output.split_once(',')?;
        Some((
            component.trim().to_owned(),
            count.parse().expect("a number"),
        ))
    });
    output.collect()
}

/// Without xtask, with the classic builder, which is the only one of this machine's `docker`.
fn plain_docker_build_makes_axon_from_nothing(
    checkout: &CheckoutCopy,
    base: &BuilderBase,
    by_host: &Image,
) {
    let axon = ["--tag", "e2e-axon", "--build-arg", "COMPONENT=axon"];
    let crates = plain_build(checkout, base, &axon);
    println!("crates compiled from nothing: {crates}");
    assert!(crates > 100, "from nothing: {crates}");
    let plain = Image::named("e2e-axon", "axon");
    assert!(plain.binary() == by_host.binary(), "the bytes of axon");
    let user = |image: &Image| image.inspect("{{.Config.User}}");
    assert_eq!(user(&plain), user(by_host));
    // Its entry point is a link to the program, which says what it lacks.
    let ran = plain.run_to_end(&[("PORT", "none")]);
    assert!(ran.contains("PORT"), "{ran}");
    let dependencies = [
        "--tag",
        DEPENDENCIES,
        "--target",
        "dependencies",
        "--build-arg",
        "COMPONENT=axon",
    ];
    let again = plain_build(checkout, base, &dependencies);
    assert_eq!(again, 0, "the dependencies are in the cache");
}

/// Returns the number of compiled crates.
fn plain_build(checkout: &CheckoutCopy, base: &BuilderBase, options: &[&str]) -> usize {
    let root = checkout.root().to_string_lossy();
    let dockerfile = format!("{root}/services/Dockerfile");
    let base = format!("BUILDER_BASE={}", base.name());
    let arguments = [
        "build",
        "--file",
        &dockerfile,
        "--build-arg",
        &base,
        "--build-arg",
        // The profile of the local environment.
        "PROFILE=local",
        "--build-arg",
        "PACKAGES=governance axon orbit",
        &root,
    ];
    let said = docker(&[&arguments[..], options].concat());
    said.matches("Compiling").count()
}

/// On the layers of axon's dependencies. The archives and zips have the bytes that the host packs.
fn the_classic_builder_makes_the_others(
    checkout: &CheckoutCopy,
    base: &BuilderBase,
    by_host: &[(&str, Vec<u8>)],
) {
    let older = engine_of_api("1.38");
    let builder = base.option();
    let components = by_host.iter().map(|(component, _)| *component);
    let arguments: Vec<_> = ["build"].into_iter().chain(components).collect();
    let ran = checkout
        .xtask_with(
            &[&arguments[..], &["--builder", &builder]].concat(),
            &[("DOCKER_HOST", &older)],
        )
        .expect(0, &["by the classic builder", "compiled in"]);
    assert!(sent_kilobytes(&ran) <= 1000);
    let crates = crates_compiled(&ran);
    assert!(crates.iter().all(|(_, count)| *count <= OURS), "{crates:?}");
    for (component, bytes) in by_host {
        assert!(
            checkout.packed(component) == *bytes,
            "the bytes of {component}"
        );
    }
}

/// The size of the context that was sent to the engine, as xtask prints it.
fn sent_kilobytes(ran: &Ran) -> usize {
    let (_, output) = ran.stderr.split_once("which gets ").expect("what is sent");
    let (count, _) = output.split_once(" kB").expect("kilobytes");
    count.parse().expect("a number")
}

fn a_changed_line_compiles_no_dependency(checkout: &CheckoutCopy) {
    // The first build compiles all of our crates with BuildKit; the second only axon's two.
    let lines = ["heartbeat OK", "heartbeat is well", "heartbeat is fine"];
    for (change, crates_max) in lines.windows(2).zip([OURS, 2]) {
        checkout.edit(REASON, change[0], change[1]);
        let ran = in_docker(checkout, "axon").expect(0, &["by BuildKit"]);
        let crates = crates_compiled(&ran);
        println!("after a changed line: {crates:?} in {:?}", ran.took);
        assert!(crates.len() == 1 && crates[0].1 <= crates_max, "{crates:?}");
    }
}

fn what_was_built_runs(checkout: &CheckoutCopy) {
    let axon = Image::of(checkout, "axon").run(&[("SIGNATURES", "off")], &[]);
    let answer = request("GET", &axon.url("/reason"), &[], "").expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("heartbeat is fine"), "{answer:?}");
    // `run` waits until it is healthy.
    let orbit = Image::of(checkout, "orbit").run(
        &[
            ("GOVERNANCE_FUNCTION_URL", "http://127.0.0.1:9/"),
            ("AXON_SERVICE_URL", "http://127.0.0.1:9/reason"),
            ("SIGNATURES", "off"),
        ],
        &[],
    );
    drop(orbit);
}

fn a_compilers_error_is_reported(checkout: &CheckoutCopy) {
    checkout.edit(REASON, "State(clock)", "State(clocks)");
    let before = checkout.artifacts();
    in_docker(checkout, "axon").expect(
        10,
        &[
            "error[E0425]: cannot find value `clock` in this scope",
            "services/axon/src/routes/reason.rs",
            "build axon in Docker",
            "hint: fix the errors of cargo above",
        ],
    );
    assert_eq!(checkout.artifacts(), before, "no partial artifact");
    checkout.edit(REASON, "State(clocks)", "State(clock)");
}

fn a_cancelled_build_ends_in_the_engine(checkout: &CheckoutCopy, base: &BuilderBase) {
    let newest = engine_of_api("1.41");
    let older = engine_of_api("1.38");
    for (line, engine) in [("cancelled", newest), ("cancelled again", older)] {
        checkout.edit(
            REASON,
            "use axum::Json;",
            &format!("// {line}\nuse axum::Json;"),
        );
        let before = checkout.artifacts();
        let arguments = ["build", "axon", "--builder", &base.option()];
        let build = checkout.start_with(&arguments, &[("DOCKER_HOST", &engine)]);
        eventually("cargo runs in the engine", || programs_in_builds() > 0);
        interrupt(&build);
        Ran::of_child(build).expect(130, &["interrupted"]);
        eventually("nothing runs in the engine", || programs_in_builds() == 0);
        assert_eq!(checkout.artifacts(), before, "no partial artifact");
        let filter = format!("ancestor={}", base.name());
        let left = || docker(&["ps", "--all", "--quiet", "--filter", &filter]);
        // The engine removes a container shortly after its program has ended.
        eventually("no container is left", || left().is_empty());
    }
}

fn a_missing_base_is_reported(checkout: &CheckoutCopy) {
    checkout.forget_artifacts();
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
                    "cannot pull base image localhost:1/no-such-base:1",
                    "--builder docker=IMAGE",
                ],
            );
    }
    assert!(checkout.artifacts().is_empty());
}

/// A fake compiler writes to a full device, as if the engine's disk were full.
fn a_full_disk_is_reported(checkout: &CheckoutCopy, base: &BuilderBase) {
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
    ran.expect(
        12,
        &["the disk of the engine is full", "docker builder prune"],
    );
}

fn an_engine_that_is_too_old_is_reported(checkout: &CheckoutCopy) {
    let engine = engine_of_api("1.24");
    checkout
        .xtask_with(
            &["build", "--builder", "docker"],
            &[("DOCKER_HOST", &engine)],
        )
        .expect(
            12,
            &["is too old for services/Dockerfile", "upgrade Docker"],
        );
}
