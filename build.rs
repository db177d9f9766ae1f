//! Rebuilds when a migration is added: `sqlx::migrate!` embeds the folder and cannot see a new file by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
