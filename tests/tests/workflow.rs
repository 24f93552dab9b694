//! Reading what the workflows run.

use e2e::workflow::steps;

#[test]
fn scripts_of_one_line_and_of_many_are_found_with_their_names() {
    let text = "name: it\njobs:\n  job:\n    steps:\n      - uses: somebody/something@abc\n      \
        - name: One\n        run: exec one --now\n      - name: Two\n        run: |\n          \
        echo a\n          echo b\n      - name: Three\n        run: three\n";
    let found: Vec<_> = steps(text)
        .into_iter()
        .map(|step| (step.name, step.script))
        .collect();
    let expected = [
        ("One", "exec one --now"),
        ("Two", "echo a\necho b\n"),
        ("Three", "three"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, script)| (name.to_owned(), script.to_owned()))
    );
}
