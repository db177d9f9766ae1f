//! `blindtuned models`.

use std::path::Path;

use clap::Subcommand;

use crate::app::AdminApp;
use crate::app::hub_folder;
use crate::cli::hub;
use crate::config::Config;

/// What to do with backbones.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Offer a backbone: a Hugging Face folder, or a hub id where there is network
    Add {
        /// Folder with config.json, *.safetensors and tokenizer.json; or a hub id such as bert-base-uncased
        source: String,
        /// Name that clients use [default: the folder's or the hub's name]
        #[arg(long)]
        name: Option<String>,
        /// Revision on the hub
        #[arg(long, default_value = "main")]
        revision: String,
    },
    /// List the backbones
    List,
    /// Offer a backbone no longer; its files stay. Refused while jobs or fine-tuned models need it
    Remove {
        /// Name that clients use
        name: String,
    },
}

impl ModelsCommand {
    /// Runs the command; works beside a running host.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let admin = AdminApp::open(config).await?;
        let done = self.run_at(&admin, config).await;
        admin.close().await?;
        done
    }

    async fn run_at(self, admin: &AdminApp, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Add { source, name, revision } => {
                let folder = Path::new(&source);
                let (folder, default_name) = if folder.is_dir() {
                    let name = folder.canonicalize()?.file_name().map(|name| name.to_string_lossy().into_owned());
                    (folder.to_owned(), name.unwrap_or_default())
                } else {
                    (hub::fetch(&source, &revision, &hub_folder(config)).await?, source.clone())
                };
                let name = name.unwrap_or(default_name);
                let model = admin.backbones.add(&folder, &name).await?;
                println!(
                    "{}: {}, {} parameters, activations of width {}, at most {} tokens",
                    model.name, model.family, model.parameters, model.hidden_size, model.max_tokens
                );
            }
            Self::Remove { name } => {
                admin.backbones.remove(&name).await?;
                println!("{name} is offered no longer; its files stay where they are");
            }
            Self::List => {
                let models = admin.backbones.list().await?;
                let rows = models.into_iter().map(|model| {
                    let numbers =
                        [model.parameters, model.hidden_size, model.max_tokens].map(|number| number.to_string());
                    [vec![model.name, model.family], numbers.to_vec(), vec![model.folder.unwrap_or_default()]].concat()
                });
                super::print_table(
                    &["name", "family", "parameters", "hidden", "tokens", "folder"],
                    &rows.collect::<Vec<_>>(),
                );
            }
        }
        Ok(())
    }
}
