//! What a process uses, as the kernel tells.

use std::fs;

use crate::Result;

use super::record::What;

/// Memory and descriptors of a process; of this one without an id.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub(super) fn usage(pid: Option<u32>, ended: bool) -> Result<What> {
    let pid = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(What::Usage {
        ended,
        memory: resident(&status).ok_or("/proc tells no VmRSS")?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
    })
}

/// KiB of the line `VmRSS:     1234 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_is_read() {
        let status = "Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t    1234 kB\n";
        assert_eq!(resident(status), Some(1234));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let used = usage(None, false).expect("used");
        let What::Usage {
            memory,
            descriptors,
            ..
        } = used
        else {
            panic!("{used:?}");
        };
        assert!(memory > 100 && descriptors > 2);
    }
}
