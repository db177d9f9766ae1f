//! The command line. Owns flags and what is printed; must never hold a rule.

mod backup;
mod hub;
mod keys;
mod models;
mod nodes;
mod projects;
mod serve;

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use figment::value::Value;

use crate::app::Database;
use crate::config::Config;
use crate::settings::telemetry_settings;
use crate::telemetry::Telemetry;

/// Fine-tuning as a service that never sees the labels.
#[derive(Debug, Parser)]
#[command(name = "blindtuned", version, about)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Common {
    /// Settings file (TOML); see config/default.toml for every setting.
    #[arg(long, global = true, env = "BLINDTUNE_CONFIG")]
    config: Option<PathBuf>,
    /// Where keys, private Postgres and local blobs live (state.dir).
    #[arg(long, global = true)]
    state_dir: Option<PathBuf>,
    /// Postgres to use instead of a private one (database.url).
    #[arg(long, global = true)]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host
    Serve(serve::Serve),
    /// API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Projects and their limits
    #[command(subcommand)]
    Projects(projects::ProjectsCommand),
    /// Backbones
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// The hosts of a fleet
    #[command(subcommand)]
    Nodes(nodes::NodesCommand),
    /// Copy everything that the host remembers into a folder: rows, blobs and keys
    Backup(backup::Backup),
    /// Make a new host's state of a backup
    Restore(backup::Backup),
    /// Bring the database's schema up to date
    Migrate,
    /// Print the API's contract (OpenAPI, YAML)
    Openapi,
}

/// Runs the command that the process was started with.
pub fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Openapi) {
        print!("{}", crate::api::openapi_yaml()?);
        return Ok(());
    }
    // What the host writes is for its own account alone: keys, and everybody's files.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let config = load(&cli)?;
    let serves = matches!(cli.command, Command::Serve(_));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let telemetry = Telemetry::start(&telemetry_settings(&config, serves), runtime.handle().clone())?;
    let done = runtime.block_on(run(cli.command, config));
    telemetry.stop();
    // A blocking call that does not end (a name look-up, say) must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

fn load(cli: &Cli) -> anyhow::Result<Config> {
    let mut flags: Vec<(&str, Value)> = Vec::new();
    if let Some(dir) = &cli.common.state_dir {
        flags.push(("state.dir", Value::from(dir.to_string_lossy().into_owned())));
    }
    if let Some(url) = &cli.common.database_url {
        flags.push(("database.url", Value::from(url.clone())));
    }
    if let Command::Serve(serve) = &cli.command {
        flags.extend(serve.flags());
    }
    Ok(Config::load(cli.common.config.as_deref(), &flags)?)
}

async fn run(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Serve(serve) => serve.run(config).await,
        Command::Keys(keys) => keys.run(&config).await,
        Command::Projects(projects) => projects.run(&config).await,
        Command::Models(models) => models.run(&config).await,
        Command::Nodes(nodes) => nodes.run(&config).await,
        Command::Backup(backup) => backup.make(&config).await,
        Command::Restore(backup) => backup.restore(&config).await,
        Command::Migrate => {
            let database = Database::open(&config).await?;
            println!("the schema is up to date");
            database.close().await
        }
        Command::Openapi => Ok(()),
    }
}

/// An error and what led to it; what an outer one has said already is left out.
pub fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told {
        told if told.is_empty() => cause,
        told if told.contains(&cause) => told,
        told => format!("{told}: {cause}"),
    })
}

/// A table for people: columns padded to their widest cell.
fn print_table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(header.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn no_cause_is_told_twice() {
        let look_up = anyhow::anyhow!("no such name");
        let nested = look_up.context("request: no such name").context("the hub does not have it");
        assert_eq!(told(&nested), "the hub does not have it: request: no such name");
    }
}
