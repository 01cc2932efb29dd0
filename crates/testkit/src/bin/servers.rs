//! Starts one server a backend, prints `VARIABLE=HOST:PORT` lines and then `ready`, and ends them
//! when its standard input closes. Test programs that find those variables in their environment
//! share the servers.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use tokio::task::JoinSet;
use waypost_testkit::containers::{RECIPES, Server};

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let wanted = RECIPES
        .iter()
        .filter(|recipe| std::env::var_os(recipe.address_variable).is_none());
    let mut starting = JoinSet::new();
    for recipe in wanted {
        starting.spawn(async move { (recipe, Server::start(recipe).await) });
    }
    let mut servers = Vec::new();
    for (recipe, started) in starting.join_all().await {
        match started {
            Ok(server) => {
                writeln!(
                    io::stdout(),
                    "{}={}",
                    recipe.address_variable,
                    server.address()
                )?;
                servers.push(server);
            }
            Err(missing) => {
                writeln!(io::stderr(), "no {}: {missing}", recipe.name)?;
                if missing.is_failure() {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
    }
    writeln!(io::stdout(), "ready")?;
    io::stdout().flush()?;
    let mut nothing = Vec::new();
    io::stdin().read_to_end(&mut nothing)?;
    drop(servers);
    Ok(ExitCode::SUCCESS)
}
