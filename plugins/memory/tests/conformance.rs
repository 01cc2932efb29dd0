//! The house's one suite, on clones of one registry a namespace.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use waypost_core::{Profile, Registry, Result};
use waypost_memory::{DRIVER, MemoryRegistry};
use waypost_testkit::{Subject, async_trait, main as run};

#[derive(Default)]
struct Memory(Mutex<HashMap<String, MemoryRegistry>>);

#[async_trait]
impl Subject for Memory {
    fn profile(&self) -> Profile {
        DRIVER.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::new(
            all.entry(namespace.to_owned()).or_default().clone(),
        ))
    }
}

fn main() -> ExitCode {
    run(async || Ok(Memory::default()))
}
