//! Help, completions, the manual page.

use libtest_mimic::Trial;

use crate::house::{House, done};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "shell",
        &[
            (
                "help_shows_examples_and_exit_codes",
                help_shows_examples_and_exit_codes,
            ),
            (
                "completions_and_the_manual_page_are_data",
                completions_and_the_manual_page_are_data,
            ),
        ],
    )
}

fn help_shows_examples_and_exit_codes() {
    let house = House::new();
    let help = house.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for needle in [
        "Exit codes:",
        "124",
        "130",
        "--registry_address <",
        "waypost demo",
        "MICRO_REGISTRY",
    ] {
        assert!(help.stdout.contains(needle), "{needle} in {}", help.stdout);
    }
    for hidden in ["demo-service", "--registry_password ", "--registry-address"] {
        assert!(!help.stdout.contains(hidden), "{hidden} in {}", help.stdout);
    }
    let version = house.run(&["--version"]);
    assert!(version.stdout.starts_with("waypost "), "{version:?}");
    let typo = house.run(&["--registy_address=a", "services"]);
    assert_eq!(typo.code, 2);
    assert!(
        typo.stderr.contains("--registry_address"),
        "{}",
        typo.stderr
    );
}

fn completions_and_the_manual_page_are_data() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = done(&mut house.bare(&["completions", shell]));
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{shell}");
        assert!(done.stdout.contains("registry_address"), "{shell}");
    }
    let page = house.run(&["man"]);
    assert_eq!(page.code, 0);
    assert!(page.stdout.contains(".TH waypost 1"), "{}", page.stdout);
}
