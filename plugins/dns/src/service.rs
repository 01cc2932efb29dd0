//! One service of a domain: which records are asked for, in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hickory_resolver::proto::rr::rdata::{SRV, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use waypost_core::{ErrorKind, Instance, Result, ServiceName};

use crate::config::{Priorities, Shape};
use crate::instance;
use crate::names::Place;
use crate::reading::Reading;
use crate::zone::{Zone, gathered};

/// One service, while it is read.
pub(crate) struct Service<'a> {
    zone: &'a Zone,
    reading: &'a Reading<'a>,
    name: &'a ServiceName,
    place: Place,
}

impl<'a> Service<'a> {
    pub(crate) fn new(
        zone: &'a Zone,
        reading: &'a Reading<'a>,
        name: &'a ServiceName,
        place: Place,
    ) -> Self {
        Self {
            zone,
            reading,
            name,
            place,
        }
    }

    /// Its instances.
    pub(crate) async fn nodes(&self) -> Result<Vec<Instance>> {
        match self.told_at_once().await? {
            Some(found) => Ok(found),
            None => self.listed().await,
        }
    }

    /// Its instances where one answer tells them; `None` where a list of names may.
    pub(crate) async fn told_at_once(&self) -> Result<Option<Vec<Instance>>> {
        let shape = self.zone.wanted.shape;
        if shape == Shape::Listed {
            return Ok(None);
        }
        if shape != Shape::Addresses {
            let found = self.reading.find(&self.place.kind, RecordType::SRV).await?;
            let targets: Vec<&SRV> = found.data.iter().filter_map(target).collect();
            if !targets.is_empty() || shape == Shape::Targets {
                return self.targets(&targets).await.map(Some);
            }
            // A name that does not exist holds no list either.
            if found.exists {
                return Ok(None);
            }
        }
        self.hosts().await.map(Some)
    }

    /// Instances by a list of their names (RFC 6763).
    pub(crate) async fn listed(&self) -> Result<Vec<Instance>> {
        let list = self.reading.find(&self.place.kind, RecordType::PTR).await?;
        if list.data.is_empty() && self.zone.wanted.shape == Shape::Any {
            return self.hosts().await;
        }
        let names: BTreeSet<&Name> = list.data.iter().filter_map(pointer).collect();
        let reads = names.into_iter().map(|name| self.named(name));
        gathered(reads.collect()).await
    }

    /// Instances by SRV records (RFC 2782).
    async fn targets(&self, targets: &[&SRV]) -> Result<Vec<Instance>> {
        let mut ranks: BTreeMap<u16, BTreeMap<&Name, Vec<&SRV>>> = BTreeMap::new();
        // The root as the target says that the service is not to be had here.
        for srv in targets.iter().filter(|srv| !srv.target.is_root()) {
            let rank = ranks.entry(srv.priority).or_default();
            rank.entry(&srv.target).or_default().push(srv);
        }
        let mut all = Vec::new();
        for rank in ranks.into_values() {
            let reads = rank
                .into_iter()
                .map(|(host, ports)| self.target(host, ports));
            all.extend(gathered(reads.collect()).await?);
            if self.zone.wanted.priorities == Priorities::Lowest && !all.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    /// The nodes on one host: one for each of its addresses and of the ports that records tell.
    async fn target(&self, host: &Name, ports: Vec<&SRV>) -> Result<Vec<Instance>> {
        let ips = self.target_addresses(host).await?;
        let several = ips.len() > 1;
        let pairs = ports
            .into_iter()
            .flat_map(|srv| ips.iter().map(move |ip| (srv, *ip)));
        let nodes = pairs.filter_map(|(srv, ip)| {
            let id = instance::target_id(srv, several.then_some(ip));
            let mut node = self.kept(host, instance::at(self.name, &id, ip, srv.port))?;
            instance::rank(&mut node, srv);
            Some(node)
        });
        Ok(nodes.collect())
    }

    /// Instances by A and AAAA records, where a port is given for them.
    async fn hosts(&self) -> Result<Vec<Instance>> {
        let (Some(port), host) = (self.zone.wanted.port, &self.place.host) else {
            return Ok(Vec::new());
        };
        let ips = self.addresses(host).await?;
        let nodes = ips.into_iter().filter_map(|ip| {
            let node = instance::at(self.name, &instance::host_id(ip, port), ip, port);
            self.kept(host, node)
        });
        Ok(nodes.collect())
    }

    /// One instance of a list: where it is, and what it says of itself.
    async fn named(&self, name: &Name) -> Result<Vec<Instance>> {
        let id = match name.iter().next() {
            Some(id) if name.base_name() == self.place.kind => String::from_utf8_lossy(id),
            _ => {
                let rule = "is listed under a service whose instance it is not";
                self.zone.skip(name, &rule);
                return Ok(Vec::new());
            }
        };
        let (targets, texts) = futures_util::future::try_join(
            self.reading.find(name, RecordType::SRV),
            self.reading.find(name, RecordType::TXT),
        )
        .await?;
        let best = targets.data.iter().filter_map(target);
        let best = best.min_by_key(|srv| (srv.priority, u16::MAX - srv.weight, &srv.target));
        let Some(srv) = best else {
            self.zone.skip(name, &"is listed and has no SRV record");
            return Ok(Vec::new());
        };
        let ips = self.target_addresses(&srv.target).await?;
        let node = ips.into_iter().next().map(|ip| {
            let mut node = instance::at(self.name, &id, ip, srv.port)?;
            instance::describe(&mut node, texts.data.iter().filter_map(words))?;
            instance::rank(&mut node, srv);
            Ok(node)
        });
        Ok(node
            .and_then(|node| self.kept(name, node))
            .into_iter()
            .collect())
    }

    /// The addresses of an SRV record's target that somebody may dial; the others, and a target
    /// without any, are counted.
    async fn target_addresses(&self, target: &Name) -> Result<Vec<IpAddr>> {
        let found = match self.addresses(target).await {
            // Aliases in a circle are this record's fault, not the domain's.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.zone.skip(target, &error);
                return Ok(Vec::new());
            }
            found => found?,
        };
        if found.is_empty() {
            self.zone
                .skip(target, &"is the target of an SRV record and has no address");
        }
        let dialable = found.into_iter().filter(|ip| {
            let good = instance::is_dialable(*ip);
            if !good {
                let rule = format_args!("has the address {ip}, which nobody may dial");
                self.zone.skip(target, &rule);
            }
            good
        });
        Ok(dialable.collect())
    }

    /// The IPv4 addresses of a host, in order; its IPv6 ones as well where none of those may be
    /// dialled: a host that has both is one node.
    async fn addresses(&self, host: &Name) -> Result<Vec<IpAddr>> {
        let four = self.reading.find(host, RecordType::A).await?;
        let mut all: BTreeSet<IpAddr> = four.data.iter().filter_map(RData::ip_addr).collect();
        if four.exists && !all.iter().any(|ip| instance::is_dialable(*ip)) {
            let six = self.reading.find(host, RecordType::AAAA).await?;
            all.extend(six.data.iter().filter_map(RData::ip_addr));
        }
        Ok(all.into_iter().collect())
    }

    fn kept(&self, name: &Name, node: Result<Instance>) -> Option<Instance> {
        node.map_err(|rule| self.zone.skip(name, &rule)).ok()
    }
}

fn target(data: &RData) -> Option<&SRV> {
    match data {
        RData::SRV(srv) => Some(srv),
        _ => None,
    }
}

/// The name that a PTR record points to.
pub(crate) fn pointer(data: &RData) -> Option<&Name> {
    match data {
        RData::PTR(name) => Some(&name.0),
        _ => None,
    }
}

fn words(data: &RData) -> Option<&TXT> {
    match data {
        RData::TXT(text) => Some(text),
        _ => None,
    }
}
