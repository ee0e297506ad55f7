//! What became of landing, and of what is pushed instead or afterwards.
//!
//! Knows no branch but by its name.

use super::kind::EventKind;
use super::parts::{LandState, PushState};
use super::state::RunState;

impl RunState {
    /// Takes in an event of landing; no other changes anything.
    pub(super) fn note_landing(&mut self, kind: &EventKind) {
        match kind {
            EventKind::LandPlanned { into, from, to, tree } => {
                self.land =
                    LandState::Planned { into: into.clone(), from: *from, to: *to, tree: *tree };
            }
            EventKind::Landed { into, to } => {
                self.has_landed = true;
                if let LandState::Planned { tree, .. } = &self.land {
                    self.landed_tree = Some(*tree);
                }
                self.land = LandState::Landed { into: into.clone(), to: *to };
                self.push = PushState::Open;
            }
            EventKind::LandPushed { remote, branch, commit } => {
                let (remote, branch) = (remote.clone(), branch.clone());
                self.push = PushState::Done { remote, branch, commit: *commit };
            }
            EventKind::LandNotPushed { reason } => self.push = PushState::Refused(reason.clone()),
            EventKind::LandUndone { .. } => {
                self.has_landed = false;
                self.land = LandState::Open;
            }
            EventKind::Published { remote, branches } => {
                let all = branches.iter().map(|branch| (branch.name.clone(), branch.commit));
                self.published.extend(all);
                let (remote, branches) = (remote.clone(), branches.clone());
                self.land = LandState::Published { remote, branches };
            }
            EventKind::LandRefused { reason } => self.land = LandState::Refused(reason.clone()),
            _ => {}
        }
    }
}
