//! Work that a person brings as a patch: a mailbox, or what `git diff` prints.
//!
//! Knows nothing of tasks. Nothing is guessed: a patch that does not fit a tree as it stands is refused.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::{Mail, Oid};
use crate::process::Call;

use super::guard::output;
use super::scratch::{Scratch, io, make_dir};
use super::{Error, Repo};

impl Repo {
    /// Applies a patch to the first of these trees that it was made for, by the names of the blobs
    /// that it tells, else to the first that it fits. The place of that tree and what it becomes; or
    /// git's complaint of the first.
    pub fn apply_patch(
        &self,
        patch: &[u8],
        onto: &[Oid],
    ) -> Result<Result<(usize, Oid), String>, Error> {
        let scratch = Scratch::new(self)?;
        let patch = match is_mailbox(patch) {
            true => match unpacked(self, scratch.path(), patch)? {
                Ok((patch, _)) => patch,
                Err(complaint) => return Ok(Err(complaint)),
            },
            false => patch.to_vec(),
        };
        let before = blobs_before(&patch);
        let mut order: Vec<usize> = (0..onto.len()).collect();
        let mut objects = self.objects()?;
        let mut made_for = Vec::new();
        for tree in onto {
            let there: BTreeSet<String> =
                objects.leaves(*tree)?.iter().map(|(_, entry)| entry.oid.to_string()).collect();
            let known = |short: &String| {
                there.range(short.clone()..).next().is_some_and(|oid| oid.starts_with(short))
            };
            made_for.push(!before.is_empty() && before.iter().all(known));
        }
        order.sort_by_key(|place| !made_for[*place]);
        let mut complaint = None;
        for place in order {
            match apply(self, scratch.path(), &patch, onto[place])? {
                Ok(tree) => return Ok(Ok((place, tree))),
                Err(said) => drop(complaint.get_or_insert(said)),
            }
        }
        Ok(Err(complaint.unwrap_or_else(|| "there is nothing to apply it to".to_owned())))
    }
}

impl Repo {
    /// What the mails of a mailbox say: their author, and the message of the commit that all of them become;
    /// none: it is none. Of several authors the first, the others as trailers.
    pub fn mail_of(&self, patch: &[u8]) -> Result<Option<Mail>, Error> {
        if !is_mailbox(patch) {
            return Ok(None);
        }
        let scratch = Scratch::new(self)?;
        let Ok((_, mails)) = unpacked(self, scratch.path(), patch)? else { return Ok(None) };
        let mut rest = mails.into_iter();
        let Some(mut mail) = rest.next() else { return Ok(None) };
        let mut others: Vec<String> = Vec::new();
        for other in rest {
            mail.message = format!("{}\n\n{}", mail.message, other.message);
            let line = format!("Co-authored-by: {} <{}>", other.name, other.email);
            if (&other.name, &other.email) != (&mail.name, &mail.email) && !others.contains(&line) {
                others.push(line);
            }
        }
        if !others.is_empty() {
            mail.message = format!("{}\n\n{}", mail.message, others.join("\n"));
        }
        Ok((!mail.name.is_empty() && !mail.email.is_empty()).then_some(mail))
    }
}

/// A mailbox begins each mail with a line `From …`; a patch of git's has such a line nowhere.
fn is_mailbox(text: &[u8]) -> bool {
    text.starts_with(b"From ")
}

/// The patches of a mailbox, one after another, decoded, and what each mail says.
type Unpacked = (Vec<u8>, Vec<Mail>);

fn unpacked(repo: &Repo, at: &Path, text: &[u8]) -> Result<Result<Unpacked, String>, Error> {
    let mails = at.join("mails");
    make_dir(&mails)?;
    let git = || repo.git().without("GIT_WORK_TREE").dir(at);
    let mut into = std::ffi::OsString::from("-o");
    into.push(&mails);
    let said = git().arg("mailsplit").arg(into).input(text.to_vec()).run()?;
    if !said.status.success() {
        return Ok(Err(said.complaint()));
    }
    let mut names: Vec<_> = std::fs::read_dir(&mails)
        .map_err(io("reading", &mails))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    names.sort();
    let (mut all, mut told) = (Vec::new(), Vec::new());
    for name in names {
        let mail = std::fs::read(&name).map_err(io("reading", &name))?;
        let (message, patch) = (at.join("message"), at.join("patch"));
        let call = git().args(["mailinfo", "-n", "--no-scissors"]);
        let said = call.arg(&message).arg(&patch).input(mail).run()?;
        if !said.status.success() {
            return Ok(Err(said.complaint()));
        }
        all.extend(std::fs::read(&patch).map_err(io("reading", &patch))?);
        let body = std::fs::read(&message).map_err(io("reading", &message))?;
        told.push(mail_told(
            &String::from_utf8_lossy(&said.stdout),
            &String::from_utf8_lossy(&body),
        ));
    }
    Ok(Ok((all, told)))
}

/// A mail as `git mailinfo` tells it: a line for each part of its head, and its text.
fn mail_told(head: &str, body: &str) -> Mail {
    let part = |name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().trim().to_owned()
    };
    let message = format!("{}\n\n{}", part("Subject"), body.trim()).trim().to_owned();
    Mail { name: part("Author"), email: part("Email"), message }
}

/// The names of the blobs that a patch starts from, as far as it tells them.
fn blobs_before(patch: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in patch.split(|byte| *byte == b'\n') {
        let Some(rest) = line.strip_prefix(b"index ") else { continue };
        let hex: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_hexdigit).collect();
        let text = String::from_utf8_lossy(&hex).into_owned();
        // All zeros: the file is new.
        if text.len() >= 4 && text.bytes().any(|byte| byte != b'0') {
            found.insert(text);
        }
    }
    found
}

fn apply(repo: &Repo, at: &Path, patch: &[u8], tree: Oid) -> Result<Result<Oid, String>, Error> {
    let index = at.join(format!("index.{tree}"));
    let git = |args: &[&str]| -> Call {
        repo.git().without("GIT_WORK_TREE").dir(at).env("GIT_INDEX_FILE", &index).args(args)
    };
    output(git(&["read-tree", &tree.to_string()]))?;
    let exact = ["-c", "apply.ignoreWhitespace=no", "-c", "apply.whitespace=nowarn"];
    let call = git(&[&exact[..], &["apply", "--cached", "--whitespace=nowarn", "-"]].concat());
    let said = call.input(patch.to_vec()).run()?;
    if !said.status.success() {
        return Ok(Err(said.complaint()));
    }
    let written = output(git(&["write-tree"]))?;
    Oid::from_hex(written.trim_ascii_end()).map(Ok).map_err(|fault| Error::Output {
        command: "git write-tree".to_owned(),
        what: fault.to_string(),
    })
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn mails() {
        let whole = b"Author: A\nEmail: a@b\nSubject: fix it\n\0text\n\0diff --git a/x b/x\nindex 0123abc..4567def 100644\n";
        target("mails", vec![whole.to_vec()], |bytes| {
            let mut parts = bytes.splitn(3, |byte| *byte == 0);
            let mut text =
                || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
            let (head, body) = (text(), text());
            let mail = mail_told(&head, &body);
            assert!(mail.message.contains(body.trim()));
            let names = blobs_before(bytes);
            assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit())));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_tells_what_it_starts_from() {
        let patch = b"diff --git a/x b/x\nindex 0123abc..4567def 100644\n--- a/x\n\
                      index 0000000..89abcde\n+index 1111111..2222222\n";
        let found: Vec<String> = blobs_before(patch).into_iter().collect();
        assert_eq!(found, ["0123abc"]);
        assert!(is_mailbox(b"From 0123 Mon Sep 17 00:00:00 2001\n") && !is_mailbox(patch));
    }
}
