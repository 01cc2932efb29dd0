//! `waypost register JSON|FILE|-`

use waypost::{Instance, RegisterOptions, Registry};

use crate::arguments::Register;
use crate::failure::{Failure, OK, Outcome};
use crate::input;
use crate::keeping::{self, Kept};
use crate::session::Session;
use crate::signals::{self, Signals};

/// Registers and keeps it up until a signal; deregisters before it leaves.
pub(super) async fn hold(session: &Session, register: &Register) -> Outcome {
    let mut signals = Signals::take()?;
    let instances = instances(session, register)?;
    let options = session.registration();
    let registry = session.registry().await?;
    let mut kept = Vec::with_capacity(instances.len());
    for instance in instances {
        kept.push(Kept::start(registry.clone(), instance, options.clone())?);
    }
    let begun = session.within(async {
        for one in &mut kept {
            one.begun().await?;
        }
        Ok(())
    });
    let signal = tokio::select! {
        begun = begun => match begun {
            Ok(()) => hold_until_signal(session, &mut kept, &mut signals).await,
            Err(failure) => {
                // Some of several may be there by now.
                let _ = keeping::release(kept).await;
                return Err(failure);
            }
        },
        signal = signals.ending() => signal,
    };
    keeping::release(kept).await?;
    session.output.say("deregistered");
    Ok(signals::code(signal))
}

async fn hold_until_signal(
    session: &Session,
    kept: &mut [Kept],
    signals: &mut Signals,
) -> rustix::process::Signal {
    session.output.say("registered until interrupted");
    loop {
        tokio::select! {
            () = keeping::tell(kept, &session.output) => {}
            signal = signals.ending() => return signal,
        }
    }
}

/// Writes the record once, with its ttl, and leaves.
pub(super) async fn once(session: &Session, register: &Register) -> Outcome {
    let instances = instances(session, register)?;
    let driver = session.driver()?;
    if driver.profile.owned {
        return Err(Failure::usage(format!(
            "--once would leave nothing behind: `{}` keeps a record only as long as the process \
             that wrote it; leave --once out to hold it",
            driver.name
        )));
    }
    // Nothing renews it, but a ttl or an interval that cannot be is told all the same.
    let timing = session.registration();
    timing.validate(driver.profile.least_ttl)?;
    let registry = session.registry().await?;
    let options = RegisterOptions::new(timing.ttl);
    for instance in &instances {
        write(session, &*registry, instance, options).await?;
    }
    Ok(OK)
}

async fn write(
    session: &Session,
    registry: &dyn Registry,
    instance: &Instance,
    options: RegisterOptions,
) -> Result<(), Failure> {
    let lease = registry.register(instance, options).await?;
    session.output.say(&format!(
        "{} is registered for {:?}; see it: waypost get {}",
        instance.key(),
        lease.ttl(),
        instance.service
    ));
    Ok(())
}

fn instances(session: &Session, register: &Register) -> Result<Vec<Instance>, Failure> {
    let mut instances = input::instances(register.input().map_err(Failure::usage)?)?;
    if let Some(metadata) = &session.flags.server_metadata {
        for instance in &mut instances {
            instance.node.metadata.extend(metadata.clone());
            instance.validate()?;
        }
    }
    Ok(instances)
}
