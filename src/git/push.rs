//! The remotes to which the user's git pushes, and their addresses.
//!
//! Knows no agent and pushes nothing.

use super::{Error, Repo};

impl Repo {
    /// Whether git knows where to push to by this: a remote's name, or an address.
    pub fn has_remote(&self, name: &str) -> Result<bool, Error> {
        if name.contains(['/', ':']) {
            return Ok(true);
        }
        let said = self.git().args(["remote", "get-url", "--push", "--", name]).run()?;
        Ok(said.status.success())
    }

    /// Those that remotes have for pushing alone (`remote.NAME.pushurl`), wherever git's settings say so.
    pub fn push_addresses(&self) -> Result<Vec<String>, Error> {
        let call = self.git().args(["config", "-z", "--get-regexp", r"^remote\..*\.pushurl$"]);
        // Status 1 is git's word for none.
        let said = call.run()?;
        let text = String::from_utf8_lossy(&said.stdout);
        let mut all: Vec<String> = text
            .split('\0')
            .filter_map(|entry| Some(entry.split_once('\n')?.1.to_owned()))
            .filter(|address| !address.is_empty())
            .collect();
        all.sort();
        all.dedup();
        Ok(all)
    }
}
