//! Where the programs of Postgres are. Owns the order of search; must never start a server.

use std::path::Path;
use std::path::PathBuf;

use crate::store::error::Result;
use crate::store::error::StoreError;

/// Names the folder of the programs, over all places but the setting.
const BIN_DIR_VARIABLE: &str = "POSTGRES_BIN_DIR";
/// Where `scripts/setup/postgres.sh` links a fetched Postgres.
const FETCHED: &str = ".deps/postgres/bin";
/// Where a release has one, beside the program.
const RELEASED: &str = "postgres/bin";
/// Where Debian and its kin put every installed version.
const DISTRIBUTION: &str = "/usr/lib/postgresql";

/// The folder that holds `initdb` and `postgres`, of version `major` when data of that version is there already.
pub(super) async fn find(bin_dir: Option<&Path>, major: Option<&str>) -> Result<PathBuf> {
    if let Some(dir) = bin_dir.map(Path::to_owned).or_else(|| std::env::var_os(BIN_DIR_VARIABLE).map(PathBuf::from)) {
        return resolve(&dir).ok_or_else(|| {
            StoreError::broken(format!(
                "'{}' was given as the folder of Postgres, and lacks initdb or postgres",
                dir.display()
            ))
        });
    }
    let mut found = Vec::new();
    for bin in usual_places().iter().filter_map(|dir| resolve(dir)) {
        match major {
            Some(major) if version(&bin).await.as_deref() != Some(major) => found.push(bin),
            _ => return Ok(bin),
        }
    }
    Err(StoreError::broken(match (major, found.is_empty()) {
        (Some(major), false) => format!(
            "the data was written by Postgres {major}, and only other versions are installed ({}). Install Postgres {major}, \
             or move the data folder away to begin anew",
            found.iter().map(|bin| bin.display().to_string()).collect::<Vec<_>>().join(", ")
        ),
        _ => format!(
            "no Postgres was found beside the program, on PATH, in {DISTRIBUTION} or in {FETCHED}. Run scripts/setup/postgres.sh, or install it \
             (Debian or Ubuntu: apt-get install postgresql), or set {BIN_DIR_VARIABLE}, or set database.url to one that runs"
        ),
    }))
}

/// The folder itself when it holds the programs, behind links to `postgres`: `initdb` is next to the file, not the link.
fn resolve(dir: &Path) -> Option<PathBuf> {
    let behind_link = std::fs::canonicalize(dir.join("postgres")).ok()?.parent()?.to_owned();
    [behind_link, dir.to_owned()].into_iter().find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}

fn usual_places() -> Vec<PathBuf> {
    // A fetched one comes first: it is there only where none was installed, or where it was asked for.
    let program = std::env::current_exe().unwrap_or_default();
    let mut places: Vec<PathBuf> = vec![PathBuf::from(FETCHED)];
    places.extend(program.ancestors().map(|folder| folder.join(FETCHED)));
    places.extend(program.parent().map(|folder| folder.join(RELEASED)));
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.extend(installed_versions(Path::new(DISTRIBUTION)));
    places
}

/// The program folders of a distribution, the newest version first.
fn installed_versions(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

/// The major version of the programs, `15` for example.
async fn version(bin: &Path) -> Option<String> {
    let output = tokio::process::Command::new(bin.join("postgres")).arg("--version").output().await.ok()?;
    major_of(&String::from_utf8_lossy(&output.stdout))
}

fn major_of(text: &str) -> Option<String> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(number.chars().take_while(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)").as_deref(), Some("15"));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1").as_deref(), Some("18"));
        assert_eq!(major_of("no"), None);
    }

    #[test]
    fn programs_are_found_behind_links_and_newest_first() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        for major in ["9", "16", "15"] {
            let bin = root.path().join(major).join("bin");
            std::fs::create_dir_all(&bin)?;
            std::fs::write(bin.join("postgres"), "")?;
            std::fs::write(bin.join("initdb"), "")?;
        }
        let newest = root.path().join("16/bin");
        assert_eq!(installed_versions(root.path())[0], newest);
        let links = root.path().join("links");
        std::fs::create_dir(&links)?;
        std::os::unix::fs::symlink(newest.join("postgres"), links.join("postgres"))?;
        assert_eq!(resolve(&links), Some(std::fs::canonicalize(&newest)?));
        assert_eq!(resolve(root.path()), None);
        Ok(())
    }
}
