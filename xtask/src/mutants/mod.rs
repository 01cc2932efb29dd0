//! `cargo xtask mutants`: small deliberate breaks of the keeper and the directory, each of which a
//! test must tell. They are made in a copy of the tree, so that nothing is ever left broken.

mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::rows::{MUTANTS, Mutant};
use crate::build::build_with;
use crate::report::{Verdict, verdict};
use crate::tools;

/// Longest run of the tests, which takes a second or two when nothing hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// What of the root is not copied.
const LEFT_OUT: &[&str] = &["target", ".git", "fuzz", "docker"];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print the mutants instead of testing them.
    #[arg(long)]
    list: bool,
    /// Only mutants whose name contains this.
    filter: Option<String>,
}

/// How the tests ended.
#[derive(Debug)]
enum End {
    Passed,
    Failed(Vec<String>),
    /// It does not compile, which proves nothing about the tests.
    Unbuilt,
    /// They hung, which nobody overlooks either.
    TimedOut,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let filter = options.filter.as_deref().unwrap_or_default();
    let wanted = MUTANTS.iter().filter(|mutant| mutant.name.contains(filter));
    if options.list {
        wanted.for_each(|mutant| println!("{} ({})", mutant.name, mutant.file));
        return Ok(true);
    }
    let house = House::copy()?;
    match house.test()? {
        End::Passed => {}
        end => bail!("the tests fail without a mutant: {end:?}"),
    }
    let (mut killed, mut survived) = (0, 0);
    for mutant in wanted {
        let end = house.with(mutant)?;
        match end {
            End::Passed | End::Unbuilt => survived += 1,
            End::Failed(_) | End::TimedOut => killed += 1,
        }
        println!("{}", line(mutant, &end));
    }
    println!("\n{killed} mutants killed, {survived} survived");
    Ok(survived == 0 && killed > 0)
}

fn line(mutant: &Mutant, end: &End) -> String {
    let name = mutant.name;
    match end {
        End::Passed => format!("SURVIVED  {name}"),
        End::Unbuilt => format!("SURVIVED  {name}: it does not compile; mend its row"),
        End::TimedOut => format!("killed    {name}: the tests hung"),
        End::Failed(tests) => {
            let first = tests.first().map_or("no test by name", String::as_str);
            let more = match tests.len() {
                0 | 1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            format!("killed    {name}: {first}{more}")
        }
    }
}

/// A copy of the tree, with a target folder that later runs find again.
struct House {
    root: PathBuf,
    target: PathBuf,
}

impl House {
    fn copy() -> Result<Self> {
        let root = tools::root()?;
        let place = root.join("target/mutants");
        let house = Self {
            root: place.join("house"),
            target: place.join("target"),
        };
        if house.root.exists() {
            fs::remove_dir_all(&house.root)?;
        }
        copy(&root, &house.root, LEFT_OUT)?;
        Ok(house)
    }

    /// Runs the tests with `mutant` in the tree.
    fn with(&self, mutant: &Mutant) -> Result<End> {
        let path = self.root.join(mutant.file);
        let sound = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        fs::write(&path, broken(mutant, &sound)?)?;
        let end = self.test();
        fs::write(&path, sound)?;
        end.with_context(|| format!("with the mutant {:?}", mutant.name))
    }

    fn test(&self) -> Result<End> {
        let mut cargo = tools::cargo()?;
        cargo
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            // A break may leave something unused behind.
            .env("RUSTFLAGS", "--cap-lints=allow")
            .args([
                "test",
                "--quiet",
                "--package=waypost-core",
                "--lib",
                "--no-run",
            ]);
        let Ok(built) = build_with(&mut cargo) else {
            return Ok(End::Unbuilt);
        };
        let [program] = &built[..] else {
            bail!("one test program was expected, not {}", built.len());
        };
        let output = self.target.join("output");
        let child = Command::new(&program.executable)
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output)?)
            .stderr(Stdio::null())
            .spawn()?;
        let Some(good) = ended(child)? else {
            return Ok(End::TimedOut);
        };
        Ok(match good {
            true => End::Passed,
            false => End::Failed(failed(&fs::read_to_string(&output)?)),
        })
    }
}

/// Waits for the end, and makes one after [`LIMIT`]; tells whether it was a good one.
fn ended(mut child: Child) -> Result<Option<bool>> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn failed(output: &str) -> Vec<String> {
    let verdicts = output.lines().filter_map(verdict);
    let failed = verdicts.filter(|(_, verdict)| *verdict == Verdict::Failed);
    failed.map(|(name, _)| name).collect()
}

/// The source with the break in it. A row that fits nowhere, or twice, tests nothing.
fn broken(mutant: &Mutant, sound: &str) -> Result<String> {
    match sound.matches(mutant.find).count() {
        1 => Ok(sound.replacen(mutant.find, mutant.replace, 1)),
        count => bail!(
            "the mutant {:?} fits {count} places of {}; bring its row up to date",
            mutant.name,
            mutant.file
        ),
    }
}

fn copy(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if left_out.iter().any(|left_out| name == *left_out) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name), &[])?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that a change of the sources that leaves a row behind is told by any test run.
    #[test]
    fn every_row_fits_its_file_once() {
        let root = tools::root().expect("root");
        for mutant in MUTANTS {
            let sound = fs::read_to_string(root.join(mutant.file)).expect(mutant.file);
            let broken = broken(mutant, &sound).expect(mutant.name);
            assert_ne!(broken, sound, "{}", mutant.name);
        }
    }

    #[test]
    fn the_tests_that_told_are_named() {
        let output = "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\n\nfailures:\n";
        assert_eq!(failed(output), ["a::c"]);
        let mutant = &MUTANTS[0];
        let shown = line(mutant, &End::Failed(failed(output)));
        assert!(
            shown.starts_with("killed") && shown.ends_with("a::c"),
            "{shown}"
        );
        assert!(line(mutant, &End::Passed).starts_with("SURVIVED"));
    }
}
