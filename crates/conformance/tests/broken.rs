//! The suite can fail: registries that break one law each are found by the case of that law, and
//! a sound one passes everything. Runs in paused time, so that minutes of waiting take seconds.

#[cfg(test)]
mod support;

use std::sync::Arc;

use support::{Flaw, Maps};
use waypost_conformance::{Outcome, Report, run};

async fn reports(maps: Maps) -> Vec<Report> {
    run(Arc::new(maps), 16).await
}

#[tokio::test(start_paused = true)]
async fn a_sound_registry_passes_every_case_that_applies() {
    let reports = reports(Maps::default()).await;
    let mut failed = Vec::new();
    for Report {
        case,
        outcome,
        took,
        ..
    } in &reports
    {
        println!("{} {outcome} ({took:?})", case.name);
        match outcome {
            Outcome::Passed => {}
            Outcome::Ignored(reason) if reason.starts_with("profile: ") => {}
            other => failed.push(format!("{}: {other}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Runs the whole suite; the case of the broken law has to be among those that fail.
async fn is_found(flaw: Flaw, cases: &[&str]) {
    let failed: Vec<&str> = reports(Maps::broken(flaw))
        .await
        .iter()
        .filter(|report| matches!(report.outcome, Outcome::Failed(_)))
        .map(|report| report.case.name)
        .collect();
    for case in cases {
        assert!(
            failed.contains(case),
            "{flaw:?} has to fail {case}; it fails {failed:?}"
        );
    }
}

macro_rules! found {
    ($($test:ident $flaw:ident $($case:ident)+;)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            is_found(Flaw::$flaw, &[$(stringify!($case)),+]).await;
        }
    )+};
}

found! {
    losing_the_second_event_of_a_batch_is_found LosesTheSecondEventOfABatch
        every_change_of_a_batch_arrives a_batch_arrives_in_one_change;
    ignoring_the_ttl_is_found IgnoresTheTtl
        killed_owner_vanishes_after_ttl a_dropped_lease_leaves_nothing_past_its_ttl;
    emptying_on_an_error_is_found EmptiesOnError
        a_dead_backend_is_never_an_empty_answer;
    swallowing_missed_deletes_is_found SwallowsMissedDeletes
        a_new_watch_makes_good_what_was_missed nothing_missed_stays_missed;
    renewing_after_a_revoke_is_found RenewsAfterRevoke
        revoke_is_final a_release_is_final;
    skipping_changed_metadata_is_found SkipsChangedMetadata
        every_changed_field_is_written;
    deleting_the_successors_record_is_found LateRevokeDeletesTheSuccessor
        a_late_revoke_leaves_the_successors_record;
    leaving_a_ghost_is_found DroppedRegisterLeavesAGhost
        a_dropped_register_leaves_nothing_past_its_ttl;
    taking_a_record_back_is_found LateRenewalTakesTheRecordBack
        a_late_renewal_leaves_the_successors_record an_expired_lease_is_lost
        two_claims_to_one_record_end_with_one_owner;
    beginning_with_changes_is_found BeginsWithChanges
        first_event_is_a_snapshot;
    telling_of_other_services_is_found TellsOfOtherServices
        a_watch_of_one_service_tells_of_no_other;
    telling_renewals_is_found TellsRenewals
        a_renewal_is_no_change;
    splitting_batches_is_found SplitsBatches
        a_batch_arrives_in_one_change;
    queueing_without_bound_is_found QueuesWithoutBound
        a_slow_reader_ends_with_the_right_state;
    going_on_after_an_error_is_found GoesOnAfterAnError
        an_error_ends_a_watch_and_nothing_stays_missed;
    staying_silent_is_found StaysSilent
        a_silent_backend_is_noticed;
    believing_the_record_is_found BelievesTheRecordNotItsKey
        a_record_that_is_not_its_key_is_skipped;
    stopping_at_a_bad_record_is_found StopsAtABadRecord
        a_bad_record_never_hides_a_good_one a_bad_record_does_not_end_a_watch;
    leaking_a_task_a_watch_is_found LeaksATaskAWatch
        a_dropped_watcher_frees_what_it_held;
    removing_before_writing_is_found RemovesBeforeItWrites
        a_restart_with_the_same_id_is_never_absent registering_again_is_idempotent;
    granting_too_little_is_found GrantsTooLittle
        an_unrenewed_record_is_kept_for_its_ttl a_record_without_owner_is_kept_for_its_ttl;
    taking_any_ttl_is_found TakesAnyTtl
        a_ttl_below_the_least_is_a_config_error;
    mixing_namespaces_is_found MixesNamespaces
        namespaces_do_not_mix;
    failing_on_unknown_services_is_found FailsOnUnknownServices
        an_unknown_service_is_empty an_odd_name_is_looked_up_like_any_other;
    never_telling_a_loss_is_found NeverTellsALoss
        a_loss_is_told;
    losing_what_follows_the_snapshot_is_found LosesWhatFollowsTheSnapshot
        no_change_is_lost_between_snapshot_and_stream a_watcher_converges_on_a_fresh_read;
}
