//! The list as a file: a JSON array of go-micro's services.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use waypost_core::{Change, Instance, Result, SkipLog};
use waypost_plugin_kit::{Known, codec};

use crate::config::PROFILE;
use crate::error;

/// Largest file.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Reads the file; blocks. A service that breaks a rule is skipped and counted; a file that is no
/// JSON array of services is an error, since nothing is known then.
pub(crate) fn read(path: &Path, skipped: &SkipLog) -> Result<Vec<Arc<Instance>>> {
    let bytes = bytes(path)?;
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|cause| error::corrupt(path, "holds no JSON").with_source(cause))?;
    let Value::Array(services) = json else {
        return Err(error::corrupt(path, "holds no JSON array of services"));
    };
    let mut known = Known::new();
    for (number, service) in services.iter().enumerate() {
        let skip = |reason: String| {
            skipped.skip(
                PROFILE.driver,
                format!("{}[{number}]", path.display()),
                reason,
            );
        };
        match codec::decode(service.to_string().as_bytes()) {
            Ok(instances) => instances.into_iter().for_each(|instance| {
                let key = instance.key();
                if known.get(&key).is_some() {
                    skip(format!("the node {key} is there already"));
                } else {
                    known.apply(&Change::Upsert(instance.into()));
                }
            }),
            Err(reason) => skip(reason),
        }
    }
    Ok(known.instances())
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let unread = |cause| error::unread(path, cause);
    // A pipe would block for as long as nobody writes to it.
    if !path.metadata().map_err(unread)?.is_file() {
        return Err(error::corrupt(path, "is no regular file"));
    }
    let file = std::fs::File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(error::corrupt(path, "is larger than 64 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waypost_core::ErrorKind;

    use super::*;

    fn read_text(text: impl AsRef<[u8]>) -> (Result<Vec<Arc<Instance>>>, SkipLog) {
        let directory = tempfile::tempdir().expect("dir");
        let path = directory.path().join("list.json");
        std::fs::write(&path, text).expect("write");
        let skipped = SkipLog::new();
        (read(&path, &skipped), skipped)
    }

    #[test]
    fn every_node_of_every_service_is_read() {
        let (all, _) = read_text(
            r#"[
                {"name":"orders","version":"1","nodes":[
                    {"id":"a","address":"10.0.0.1:80"},{"id":"b","address":"10.0.0.2:80"}]},
                {"Name":"users","Nodes":[{"Id":"a","Address":"10.0.0.3","Port":80}]}
            ]"#,
        );
        let keys: Vec<_> = all
            .expect("list")
            .iter()
            .map(|one| one.key().to_string())
            .collect();
        assert_eq!(keys, ["orders/a", "orders/b", "users/a"]);
    }

    #[test]
    fn a_bad_service_is_skipped_and_hides_no_good_one() {
        let (all, skipped) = read_text(
            r#"[null, {"name":"../x"}, {"name":"orders","nodes":[{"id":"a","address":"h:1"}]},
                {"name":"orders","nodes":[{"id":"a","address":"h:2"}]}]"#,
        );
        let all = all.expect("list");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].node.address.as_str(), "h:1");
        assert_eq!(skipped.total(), 3);
        assert!(skipped.recent()[0].place.ends_with("list.json[0]"));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_an_error_and_not_empty() {
        let deep = "[".repeat(100_000);
        for text in ["", "{}", "[", "null", &deep] {
            let error = read_text(text).0.expect_err("corrupt");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
        let missing = read(Path::new("/nowhere/list.json"), &SkipLog::new());
        assert_eq!(missing.expect_err("missing").kind(), ErrorKind::Unavailable);
        let directory = read(Path::new("/"), &SkipLog::new());
        assert_eq!(directory.expect_err("directory").kind(), ErrorKind::Corrupt);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_text(bytes);
        }
    }
}
