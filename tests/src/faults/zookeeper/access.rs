//! Access lists that change under those who were allowed to write.

use tokio::time::sleep;
use zookeeper_client::{Acl, AuthId, Permission};

use crate::backend::{Backend, Zookeeper};
use crate::bounds::{B as CAP, EPSILON, bound};
use crate::faults::Fault;
use crate::faults::access::{REFUSED, refused, returns};
use crate::house::{House, Shape, key};
use crate::{Result, ensure};

/// The same user with another password.
const OTHER_PASSWORD: &str = "svc:OQnRmvIZXxhtsK0t7jH+lY9vung=";

pub(super) fn faults() -> Vec<Fault<Zookeeper>> {
    let guarded = Shape {
        guarded: true,
        relist: std::time::Duration::from_secs(2),
        ..Shape::PROXIED
    };
    vec![
        Fault {
            name: "F25_rights_taken_away",
            law: "when a right is taken away the refusal is told, and what is known is kept",
            bound: bound!(CAP + EPSILON),
            shape: guarded,
            run: |house| Box::pin(rights_taken(house)),
        },
        Fault {
            name: "F26_password_changed",
            law: "a wrong password is told as a refusal, those who only read notice nothing, and \
                  the right one heals",
            bound: bound!(CAP + EPSILON),
            shape: guarded,
            run: |house| Box::pin(password_changed(house)),
        },
    ]
}

async fn rights_taken(house: &mut House<Zookeeper>) -> Result<f64> {
    let nobody = [Acl::new(Permission::READ, AuthId::new("digest", "x:y"))];
    let former = house.backend.permit(&house.namespace, &nobody).await?;
    refused(house).await?;
    house.backend.permit(&house.namespace, &former).await?;
    returns(house).await
}

async fn password_changed(house: &mut House<Zookeeper>) -> Result<f64> {
    let other = [
        Acl::new(Permission::ALL, AuthId::new("digest", OTHER_PASSWORD)),
        Acl::new(Permission::READ, AuthId::anyone()),
    ];
    let former = house.backend.permit(&house.namespace, &other).await?;
    house.history.note("by hand", "changed the user's password");
    let [node, stays] = house.nodes(0);
    house.backend.remove(&house.namespace, &key(node)?).await?;
    sleep(REFUSED).await;
    let reports = house.agents[0].reports();
    let told = reports.get(node).ok_or("the agent told nothing")?;
    ensure(told.kind.as_deref() == Some("denied"), || {
        format!("the owner of the deleted record tells {told:?}")
    })?;
    // What was written before is still renewed: it is the session that keeps it.
    let other = reports.get(stays).ok_or("the agent told nothing")?;
    ensure(other.state == "live", || format!("{stays} is {other:?}"))?;
    for reader in &house.readers {
        let stale = reader.account().stale.len();
        ensure(stale == 0, || format!("{} went stale", reader.name()))?;
    }
    house.backend.permit(&house.namespace, &former).await?;
    returns(house).await
}
