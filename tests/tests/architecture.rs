//! What the drawing of the house says, held against what cargo and the sources say.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The levels of the house. Every plugin stands on the second.
const LEVELS: &[(&str, u8)] = &[
    ("waypost-core", 0),
    ("waypost-resilience", 0),
    ("waypost-plugin-kit", 1),
    ("waypost-selector", 1),
    ("waypost-conformance", 1),
    ("waypost-client", 2),
    ("waypost-server", 2),
    ("waypost-testkit", 2),
    ("waypost-limiter", 3),
    ("waypost-gateway", 3),
    ("waypost", 4),
    ("waypost-cli", 5),
    ("waypost-examples", 5),
    ("waypost-tests", 5),
    ("waypost-benches", 5),
    ("xtask", 5),
];
/// The level of a plugin.
const PLUGIN: u8 = 2;
/// The level where everybody may use everybody.
const TOP: u8 = 5;
/// What the tests of any level may use, beside what stands no higher than they.
const FOR_TESTS: &[&str] = &["waypost-conformance", "waypost-testkit"];
/// What shows newcomers one thing at a time: it prints, and does not say what to do when all fails.
const SHOWN: &str = "waypost-examples";
/// What no plugin may use: it keeps no time.
const TIMERS: &[&str] = &[
    "sleep",
    "sleep_until",
    "interval",
    "interval_at",
    "timeout",
    "timeout_at",
    "Sleep",
    "Interval",
    "Timeout",
];

fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .no_deps()
            .exec()
            .expect("cargo metadata")
    })
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ stands in the root")
        .to_owned()
}

fn packages() -> impl Iterator<Item = &'static Package> {
    metadata().packages.iter()
}

/// The folder of a package, from the root.
fn folder(package: &Package) -> PathBuf {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().expect("a manifest is in a folder");
    folder
        .strip_prefix(root())
        .expect("in the workspace")
        .to_owned()
}

fn is_plugin(package: &Package) -> bool {
    folder(package).starts_with("plugins")
}

fn level(package: &Package) -> u8 {
    if is_plugin(package) {
        return PLUGIN;
    }
    let known = LEVELS
        .iter()
        .find(|(name, _)| *name == package.name.as_str());
    known
        .unwrap_or_else(|| panic!("{} has no level; say which in LEVELS", package.name))
        .1
}

#[test]
fn edges_point_down() {
    let inside: BTreeMap<&str, &Package> = packages()
        .map(|package| (package.name.as_str(), package))
        .collect();
    let mut wrong = Vec::new();
    for package in packages() {
        for dependency in &package.dependencies {
            let Some(used) = inside.get(dependency.name.as_str()) else {
                continue;
            };
            let (above, below) = (level(package), level(used));
            let is_for_tests = dependency.kind == DependencyKind::Development
                && (FOR_TESTS.contains(&dependency.name.as_str()) || above >= below);
            if below >= above && above != TOP && !is_for_tests {
                wrong.push(format!(
                    "{} (level {above}) uses {} (level {below})",
                    package.name, used.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_facade_and_what_is_above_it_knows_plugins() {
    let plugins: Vec<&str> = packages()
        .filter(|package| is_plugin(package))
        .map(|package| package.name.as_str())
        .collect();
    assert!(plugins.len() >= 3, "{plugins:?}");
    for package in packages().filter(|package| level(package) < 4 && !is_plugin(package)) {
        let used = package.dependencies.iter();
        let mut used = used
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.as_str());
        let plugin = used.find(|name| plugins.contains(name));
        assert_eq!(plugin, None, "{} uses a plugin", package.name);
    }
    for package in packages().filter(|package| is_plugin(package)) {
        let normal = package.dependencies.iter();
        let other = normal
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .find(|dependency| plugins.contains(&dependency.name.as_str()));
        assert!(other.is_none(), "{} uses another plugin", package.name);
    }
}

#[test]
fn a_plugin_is_called_as_its_folder_and_feature() {
    let facade = packages()
        .find(|package| package.name.as_str() == "waypost")
        .expect("facade");
    for package in packages().filter(|package| is_plugin(package)) {
        let folder = folder(package);
        let word = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert_eq!(package.name.as_str(), format!("waypost-{word}"));
        let is_used = facade
            .dependencies
            .iter()
            .find(|used| used.name == package.name.as_str());
        // A plugin on its way into the house is not in the table yet.
        if let Some(used) = is_used {
            assert!(used.optional, "{word} is not optional in the facade");
            assert!(
                facade.features.contains_key(word),
                "the facade has no feature {word}"
            );
        }
    }
}

#[test]
fn every_package_inherits_the_lints_and_the_common_keys() {
    for package in packages() {
        let path = &package.manifest_path;
        let manifest = fs::read_to_string(path).expect("manifest");
        let lints = manifest
            .split_once("[lints]")
            .map(|(_, rest)| rest.trim_start());
        let inherits = lints.is_some_and(|rest| rest.starts_with("workspace = true"));
        assert!(
            inherits || package.name.as_str() == SHOWN,
            "{path} does not inherit the workspace's lints"
        );
        for key in ["version", "edition", "rust-version", "license"] {
            let line = format!("{key}.workspace = true");
            assert!(manifest.contains(&line), "{path} does not say `{line}`");
        }
    }
}

#[test]
fn versions_stand_only_in_the_root_manifest() {
    for package in packages() {
        let path = &package.manifest_path;
        let manifest = fs::read_to_string(path).expect("manifest");
        let mut in_dependencies = false;
        for (number, line) in manifest.lines().enumerate() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
                assert!(
                    !line.contains("dependencies."),
                    "{path}:{}: a dependency has a table of its own",
                    number + 1
                );
                continue;
            }
            let says = in_dependencies && !line.trim().is_empty() && line.contains('=');
            // The rest of a list that began on an earlier line names features only.
            let begins = line.starts_with(|c: char| c.is_ascii_alphanumeric());
            if says && begins {
                assert!(
                    line.contains("workspace = true"),
                    "{path}:{}: `{line}` does not say `workspace = true`",
                    number + 1
                );
            }
        }
    }
}

#[test]
fn no_plugin_keeps_time() {
    for package in packages().filter(|package| is_plugin(package)) {
        let mut sources = Vec::new();
        sources_below(&root().join(folder(package)).join("src"), &mut sources);
        assert!(!sources.is_empty(), "{} has no sources", package.name);
        for path in sources {
            let text = fs::read_to_string(&path).expect("source");
            // Tests of a plugin may wait.
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            let found = if is_test { None } else { timer(code) };
            assert_eq!(found, None, "{} keeps time", path.display());
        }
    }
}

fn sources_below(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources_below(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

/// The first use of one of tokio's timers, by its path or by an import.
fn timer(code: &str) -> Option<String> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join(" ");
    for (start, _) in code.match_indices("time::") {
        let before = &code[..start];
        let rest = &code[start + "time::".len()..];
        if !before.ends_with("tokio::") && !before.ends_with("use ") && !before.ends_with("{") {
            continue;
        }
        let used = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(""),
            None => rest
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
                .unwrap_or(""),
        };
        let words = used.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let mut timers = words.filter(|word| TIMERS.contains(word));
        if let Some(word) = timers.next() {
            return Some(format!("time::{word}"));
        }
        if rest.starts_with('*') {
            return Some("time::*".to_owned());
        }
    }
    None
}

#[test]
fn timers_are_found_however_they_are_written() {
    for code in [
        "tokio::time::sleep(x).await",
        "use tokio::time::{Instant, timeout};",
        "use tokio::time::*;",
        "let x = tokio::time::interval(y);",
    ] {
        assert!(timer(code).is_some(), "{code}");
    }
    for code in [
        "use tokio::time::Instant;",
        "use std::time::Duration;",
        "// tokio::time::sleep is forbidden here",
    ] {
        assert_eq!(timer(code), None, "{code}");
    }
}
