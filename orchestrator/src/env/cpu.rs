//! CPU used by a process and everything below it.
//!
//! A tree is found by its parents' numbers, in one look through `/proc`; what it has waited for is counted with it
//! (`cutime`, `cstime`). A descendant whose parent has ended hangs below init and is not counted: that can only make
//! an agent look quieter than it is, and its output and reports still speak for it.

use std::collections::BTreeMap;

/// What one look through `/proc` told: every process with its parent and the ticks it has used.
#[derive(Debug, Default)]
pub(super) struct CpuTable(BTreeMap<u32, (u32, u64)>);

impl CpuTable {
    /// Looks through `/proc` once. Blocking: some 20 µs a process. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// The system's, if `/proc` itself cannot be read.
    pub(super) fn read() -> std::io::Result<Self> {
        let mut table = BTreeMap::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if let Some(row) = std::fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse(&stat)) {
                table.insert(pid, row);
            }
        }
        Ok(Self(table))
    }

    /// Ticks used by the process and its descendants; none if there is no such process.
    #[must_use]
    pub(super) fn tree(&self, root: u32) -> Option<u64> {
        let mut sum = self.0.get(&root)?.1;
        let mut below = vec![root];
        // Every process has one parent, so nobody is met twice.
        while let Some(parent) = below.pop() {
            for (pid, (_, ticks)) in self.0.iter().filter(|(pid, (of, _))| *of == parent && **pid != root) {
                sum = sum.saturating_add(*ticks);
                below.push(*pid);
            }
        }
        Some(sum)
    }
}

/// Parent and ticks. The command name may hold blanks and parentheses, so fields are counted from the last `)`.
fn parse(stat: &[u8]) -> Option<(u32, u64)> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?; // field 4
    let mut ticks = 0_u64;
    for field in fields.get(11..15)? {
        // utime, stime, cutime, cstime: fields 14 to 17; the last two are signed in the kernel's table.
        ticks = ticks.saturating_add(field.parse::<i64>().ok()?.max(0).cast_unsigned());
    }
    Some((parent, ticks))
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, CpuTable, parse};

    #[test]
    fn ticks_are_the_processs_own_and_those_it_waited_for() {
        let line = b"9 (a) Z (b) S 7 9 9 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 4242";
        assert_eq!(parse(line), Some((7, 127)));
        assert_eq!(parse(b"9 (cut) S 1 2"), None);
    }

    #[test]
    fn a_tree_is_all_that_is_below_and_nothing_beside() {
        let table = CpuTable(BTreeMap::from([(1, (0, 1)), (5, (1, 10)), (6, (5, 100)), (7, (6, 1_000)), (8, (1, 9))]));
        assert_eq!((table.tree(5), table.tree(7), table.tree(99)), (Some(1_110), Some(1_000), None));
    }

    #[test]
    fn this_process_is_in_the_table() {
        let table = CpuTable::read().expect("/proc");
        assert!(table.tree(std::process::id()).is_some());
    }
}
