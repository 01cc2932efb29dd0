//! tower's p2c: ready, call, and the answer, of services that answer at once. It takes `&mut self`,
//! so threads cannot share it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tower::Service;
use ::tower::balance::p2c::Balance;
use ::tower::discover::ServiceList;
use ::tower::load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover};

use crate::measure::Contender;

/// Answers with its own number.
#[derive(Clone)]
struct Answer(usize);

impl Service<()> for Answer {
    type Response = usize;
    type Error = Infallible;
    type Future = Ready<Result<usize, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0))
    }
}

fn contender<S>(name: &'static str, balance: S) -> Contender
where
    S: Service<(), Response = usize> + Send + 'static,
{
    let balance = Mutex::new(balance);
    Contender::exclusive(name, move |picks| {
        let mut balance = balance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..picks {
            if balance.poll_ready(&mut context).is_ready() {
                let call = pin!(balance.call(()));
                let answered = call.poll(&mut context);
                black_box(matches!(answered, Poll::Ready(Ok(_))));
            }
        }
    })
}

pub(super) fn contenders(count: usize) -> [Contender; 2] {
    let services = || ServiceList::new::<()>((0..count).map(Answer).collect::<Vec<_>>());
    let pending = PendingRequestsDiscover::new(services(), CompleteOnResponse::default());
    let ewma = PeakEwmaDiscover::new::<()>(
        services(),
        Duration::from_millis(1),
        Duration::from_secs(10),
        CompleteOnResponse::default(),
    );
    [
        contender(
            "tower p2c PendingRequests, ready + call",
            Balance::new(pending),
        ),
        contender(super::TOWER_EWMA, Balance::new(ewma)),
    ]
}
