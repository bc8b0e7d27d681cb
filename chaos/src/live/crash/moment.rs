//! Moments, told by the calls that make them: before and after a commit, a message to tmux, a name given to a file.
//!
//! With WAL a transaction is committed once the frame that ends it is in the file; nothing of it counts before. So
//! *before* a commit is the entry of the first write of a page that has the text, *after* it is the return of the
//! sync that follows: kill -9 takes nothing from the page cache.

use super::call::{Call, Deed, WAL};

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}

/// Whether a call begins to write a page with that text to the log.
fn writes_page(call: &Call, text: &str) -> bool {
    call.is_of_the_log()
        && call.own
        && !call.done
        && matches!(&call.deed, Deed::Write { bytes, .. } if has(bytes, text))
}

/// Just before the transaction is committed that brings this text into the database for the first time.
pub(super) fn before_commit(text: &'static str) -> impl FnMut(&Call) -> bool {
    move |call| writes_page(call, text)
}

/// Just after it.
pub(super) fn after_commit(text: &'static str) -> impl FnMut(&Call) -> bool {
    after_commit_beside(text, text)
}

/// Just after the transaction is committed that brings a page with both texts for the first time.
pub(super) fn after_commit_beside(text: &'static str, other: &'static str) -> impl FnMut(&Call) -> bool {
    let mut written = false;
    move |call| {
        written |= writes_page(call, text) && writes_page(call, other);
        written && call.own && call.done && matches!(&call.deed, Deed::Sync { of } if of.ends_with(WAL))
    }
}

/// Whether a call writes a message with all these words to tmux's client.
fn says(call: &Call, words: &[&str]) -> bool {
    let Deed::Write { to, bytes } = &call.deed else { return false };
    call.own
        && (to.starts_with("pipe:") || to.starts_with("socket:"))
        && words.iter().all(|word| has(bytes, word))
        && bytes.ends_with(b"\n")
}

/// Just before tmux is told something.
pub(super) fn before_asking(words: &'static [&'static str]) -> impl FnMut(&Call) -> bool {
    move |call| !call.done && says(call, words)
}

/// Just after tmux's client was told something; what became of it nobody has heard yet.
pub(super) fn after_asking(words: &'static [&'static str]) -> impl FnMut(&Call) -> bool {
    move |call| call.done && says(call, words)
}

/// Just before a file is given a name whose path has all these parts.
pub(super) fn before_naming(parts: &'static [&'static str]) -> impl FnMut(&Call) -> bool {
    move |call| call.own && !call.done && names(call, parts)
}

/// Just after it.
pub(super) fn after_naming(parts: &'static [&'static str]) -> impl FnMut(&Call) -> bool {
    move |call| call.own && call.done && names(call, parts)
}

fn names(call: &Call, parts: &[&str]) -> bool {
    matches!(&call.deed, Deed::Name { to } if parts.iter().all(|part| to.contains(part)))
}

/// Just after a followed child has opened a file whose name ends so; its number is noted.
pub(super) fn child_opened(end: &'static str, child: &mut Option<u32>) -> impl FnMut(&Call) -> bool {
    move |call| {
        let is_it = !call.own && call.done && matches!(&call.deed, Deed::Open { path } if path.ends_with(end));
        if is_it {
            *child = Some(call.pid);
        }
        is_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(done: bool, deed: Deed) -> Call {
        Call { own: true, pid: 1, done, deed }
    }

    fn page(text: &str) -> Deed {
        Deed::Write { to: "/run/orch.db-wal".to_owned(), bytes: format!("\0{text}\0").into_bytes() }
    }

    #[test]
    fn a_commit_is_over_at_the_sync_that_follows_its_page() {
        let sync = |done| call(done, Deed::Sync { of: "/run/orch.db-wal".to_owned() });
        let mut before = before_commit("queued");
        assert!(!before(&call(false, page("other"))) && !before(&call(true, page("queued"))));
        assert!(before(&call(false, page("queued"))));
        let mut after = after_commit("queued");
        // The sync of the transaction before, and the sync that has only begun.
        assert!(!after(&sync(true)) && !after(&call(false, page("queued"))) && !after(&sync(false)));
        assert!(!after(&call(true, Deed::Sync { of: "/run/other".to_owned() })));
        assert!(after(&sync(true)));
    }

    #[test]
    fn a_message_is_known_by_its_words_and_goes_through_a_pipe() {
        let told = |to: &str, text: &str| Deed::Write { to: to.to_owned(), bytes: text.as_bytes().to_vec() };
        let words = &["'new-session'", "'-d'"];
        let message = "'new-session' '-d' '-s' 'p1'\n";
        assert!(before_asking(words)(&call(false, told("pipe:[7]", message))));
        assert!(!before_asking(words)(&call(true, told("pipe:[7]", message))));
        assert!(after_asking(words)(&call(true, told("socket:[7]", message))));
        assert!(!after_asking(words)(&call(true, told("/log", message))));
        assert!(!after_asking(words)(&call(true, told("pipe:[7]", "'new-session' '-A'\n"))));
    }

    #[test]
    fn a_childs_call_is_not_the_orchestrators() {
        let mut child = None;
        let deed = Deed::Open { path: ".git/worktrees/e1/locked".to_owned() };
        assert!(!child_opened("/locked", &mut child)(&call(true, deed.clone())));
        let of_child = Call { own: false, pid: 7, done: true, deed };
        assert!(child_opened("/locked", &mut child)(&of_child));
        assert_eq!(child, Some(7));
    }
}
