//! Nothing points back: which room may know which, checked in the manifests.

use std::path::Path;

use crate::{Failure, Outcome};

/// Room by room, the rooms that it may know. Tests may know more.
const MAY_KNOW: [(&str, &[&str]); 6] = [
    ("wire", &[]),
    ("fabric", &["wire"]),
    ("api", &["fabric"]),
    ("agent", &["fabric", "wire", "api"]),
    ("lab", &["agent", "api", "fabric", "wire"]),
    ("cli", &["agent", "api", "fabric", "lab", "wire"]),
];

/// Reads the manifests below `root` and complains about the first arrow that points back.
pub(crate) fn check(root: &Path) -> Outcome {
    for (room, may_know) in MAY_KNOW {
        let path = root.join("crates").join(room).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path);
        let manifest = manifest.map_err(|error| Failure(format!("read {}: {error}", path.display())))?;
        let dependencies = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        let known =
            dependencies.lines().filter_map(|line| line.strip_prefix("byway-")?.split(['.', ' ']).next());
        if let Some(other) = known.into_iter().find(|other| !may_know.contains(other)) {
            return Err(Failure(format!(
                "xtask: the room `{room}` may not know `{other}` (see ARCHITECTURE.md)"
            )));
        }
    }
    Ok(())
}
