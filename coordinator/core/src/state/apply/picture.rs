//! The picture of a whole state: every field of it, or said to be volatile.
//!
//! Each `let Struct { … } = …` below names all fields: a field that is added does not compile until
//! it is shown here. Never: a change of the state.

use std::collections::BTreeMap;

use crate::{
    checkpoint::record,
    state::{
        Cluster, ClusterSlot, Deadline, DefinitionSlot, Forgettable, Host, HostSlot, Revision,
        Service, ServiceSlot, State, Task, Waiting,
        picture::{Picture, fields},
    },
};

impl State {
    /// Everything that a restart keeps or derives anew. What is volatile is left out by name.
    pub fn picture(&self) -> Picture {
        let State {
            seq,
            epoch,
            epochs,
            recovered,
            recovered_seq,
            // Volatile: what the journal's file says.
            restored: _,
            starts,
            unsure_before,
            unsure_below,
            recoveries,
            clusters,
            clusters_by_name,
            definitions,
            hosts,
            hosts_by_id,
            members,
            // What the members' keys say.
            hosts_by_key: _,
            idle_members,
            tasks,
            tasks_by_id,
            waiting,
            waiting_by_launch,
            deadlines,
            unsure_tasks,
            services,
            services_by_id,
            service_tokens,
            // From the settings.
            service_policy: _,
            task_policy: _,
            // Volatile: after a start everything is looked at once.
            agenda: _,
            alarm_watchers,
            hook_calls,
            scheduling_began: _,
            scheduling_held: _,
            // Volatile: who looks says whether he waits.
            clusters_with_waiting: _,
            clusters_with_rounds: _,
            // Volatile: each start begins an epoch.
            epoch_started_at: _,
            word_awaited_until,
            // Volatile: a new coordinator has heard nobody.
            unheard: _,
            groups,
            client_tokens,
            join_tokens,
            account_settings,
            alarms,
            log_groups,
            auto_scaling,
            capacity_providers,
            inactive,
            // How changes leave the state.
            dirty: _,
            // Compared by `check`, without what ended since the start.
            tallies: _,
            changes: _,
            replaying: _,
        } = self;
        let mut picture = Picture::default();
        let shown = fields! {
            seq: seq,
            epoch: epoch,
            epochs: epochs,
            recovered: recovered,
            recovered_seq: recovered_seq,
            starts: starts,
            unsure_before: unsure_before,
            unsure_below: unsure_below,
            recoveries: recoveries,
            word_awaited_until: word_awaited_until,
        };
        picture.show("meta", shown);
        let counted = [clusters.iter().count(), hosts.iter().count(), tasks.iter().count()];
        let named = [clusters_by_name.len(), hosts_by_id.len(), tasks_by_id.len()];
        let (launches, all_services) = (waiting.iter().count(), services.iter().count());
        picture.show(
            "sizes",
            fields! {
                arenas: (counted, launches, all_services),
                names: (named, waiting_by_launch.len(), services_by_id.len()),
            },
        );
        for &slot in clusters_by_name.values() {
            self.show_cluster(&mut picture, slot);
        }
        definitions.picture(&mut picture);
        for &slot in hosts_by_id.values() {
            self.show_host(&mut picture, &hosts[slot]);
        }
        for (host, membership) in members {
            picture.show(format!("member {host}"), fields! { membership: membership });
        }
        for &slot in tasks_by_id.values() {
            self.show_task(&mut picture, &tasks[slot]);
        }
        for &slot in waiting_by_launch.values() {
            let Waiting { cluster, definition, launch } = &waiting[slot];
            let (cluster, definition) =
                (&clusters[*cluster].name, self.definition_name(*definition));
            let shown = fields! { cluster: cluster, definition: definition, launch: launch };
            picture.show(format!("waiting {}", launch.launch), shown);
        }
        for &slot in services_by_id.values() {
            self.show_service(&mut picture, slot);
        }
        let by_slot = |slot: &ServiceSlot| services[*slot].id;
        let alarm_watchers: BTreeMap<_, Vec<_>> = alarm_watchers
            .iter()
            .map(|(alarm, watchers)| (alarm, sorted(watchers.iter().map(by_slot))))
            .collect();
        let hook_calls =
            sorted(hook_calls.iter().map(|(at, slot, hook)| (*at, by_slot(slot), *hook)));
        let deadlines: Vec<String> =
            deadlines.iter().map(|(at, what)| deadline(*at, what)).collect();
        let inactive: Vec<String> = sorted(inactive.iter().map(|(at, what)| {
            format!(
                "{at:?} {}",
                match what {
                    Forgettable::Host(host) => format!("host {host}"),
                    Forgettable::Cluster(name) => format!("cluster {name}"),
                    Forgettable::Service(service) => format!("service {service}"),
                    Forgettable::CapacityProvider(name) => format!("capacity provider {name}"),
                }
            )
        }));
        picture.show(
            "indexes",
            fields! {
                service_tokens: service_tokens,
                alarm_watchers: alarm_watchers,
                hook_calls: hook_calls,
                deadlines: deadlines,
                unsure_tasks: unsure_tasks,
                inactive: inactive,
                groups: groups.sizes(),
                idle_members: idle_members.hosts(),
            },
        );
        client_tokens.picture(&mut picture);
        join_tokens.picture(&mut picture);
        for (scope, name, value) in account_settings.iter() {
            picture.show(format!("setting {scope:?} {name}"), fields! { value: value });
        }
        for (name, alarm) in alarms {
            picture.show(format!("alarm {name}"), fields! { alarm: alarm });
        }
        for (name, group) in log_groups {
            picture.show(format!("log group {name}"), fields! { group: group });
        }
        auto_scaling.picture(&mut picture);
        for (name, provider) in capacity_providers {
            picture.show(format!("capacity provider {name}"), fields! { provider: provider });
        }
        picture
    }

    /// Compares the state with one that is rebuilt from its entities' rows, as a start does:
    /// every counter and every index must be what that derives. A sentence for each thing that is
    /// not; none, and the state is sound. Call it between steps, whenever a test wants to know.
    pub fn check(&self) -> Vec<String> {
        let mut rebuilt = State::to_recover();
        rebuilt.set_service_policy(self.service_policy);
        rebuilt.set_capacity_policy(self.capacity_policy().clone());
        let rows = self.all_rows();
        for kind in record::RESTORE_ORDER {
            for row in rows.iter().filter(|row| row.kind == kind) {
                let Some(value) = &row.value else { continue };
                match record::decode(value) {
                    Ok(record) => rebuilt.restore(record),
                    Err(error) => {
                        return vec![format!("a row of kind {kind} is not read: {error}")];
                    }
                }
            }
        }
        rebuilt.recovered_at(self.seq);
        let mut found = rebuilt.picture().differences(&self.picture());
        let (derived, kept) = (rebuilt.tallies(), self.tallies());
        let differing = derived.zip(kept).filter(|(derived, kept)| derived != kept);
        found.extend(differing.map(|(derived, kept)| format!("tally {derived:?}, kept {kept:?}")));
        found
    }

    fn definition_name(&self, slot: DefinitionSlot) -> String {
        let definition = self.definition_at(slot);
        format!("{}:{}", definition.family, definition.definition.revision)
    }

    fn show_cluster(&self, picture: &mut Picture, slot: ClusterSlot) {
        let Cluster {
            name,
            status,
            settings,
            tags,
            index,
            hosts,
            tasks,
            running_tasks,
            pending_tasks,
            registered_hosts,
            services,
            draining_services,
            inactive_services,
            daemons,
            replicas,
            waiting_tasks,
            // Volatile: who looks says whether he waits.
            waiting: _,
            woken: _,
            rounds: _,
            silent,
            replacing,
            // Volatile: only a settling mass loss looks at it.
            last_return: _,
            provider_uses,
            // Volatile: who looks says what he wants.
            wanting: _,
        } = &self.clusters[slot];
        let host = |slot: &HostSlot| self.hosts[*slot].id;
        let service = |slot: &ServiceSlot| self.services[*slot].id;
        let ids: Vec<_> = hosts.iter().map(|(id, slot)| (*id, host(slot))).collect();
        let task_ids: Vec<_> = tasks.iter().map(|(id, slot)| (*id, self.tasks[*slot].id)).collect();
        let services: Vec<_> = services.iter().map(|(name, slot)| (name, service(slot))).collect();
        let inactive: Vec<_> =
            inactive_services.iter().map(|(name, slot)| (name, service(slot))).collect();
        let waiting: Vec<_> = waiting_tasks
            .iter()
            .map(|(task, slot)| (*task, self.waiting[*slot].launch.launch))
            .collect();
        let silent = sorted(silent.iter().map(|(since, slot)| (*since, host(slot))));
        picture.show(
            format!("cluster {name}"),
            fields! {
                status: status,
                settings: settings,
                tags: tags,
                indexed_hosts: index.len(),
                hosts: ids,
                tasks: task_ids,
                running_tasks: running_tasks,
                pending_tasks: pending_tasks,
                registered_hosts: registered_hosts,
                services: services,
                draining_services: sorted(draining_services.iter().map(service)),
                inactive_services: inactive,
                daemons: sorted(daemons.iter().map(service)),
                replicas: sorted(replicas.iter().map(service)),
                waiting_tasks: waiting,
                silent: silent,
                replacing: replacing,
                provider_uses: provider_uses,
            },
        );
    }

    fn show_host(&self, picture: &mut Picture, host: &Host) {
        let Host {
            id,
            slot,
            cluster,
            status,
            capacity,
            attributes,
            custom_attributes,
            given_attributes,
            tags,
            versions,
            instance_id,
            agent,
            registered_at,
            connected,
            refused,
            refused_until,
            connectivity_at,
            engine,
            engine_at,
            storage,
            storage_at,
            version,
            tasks,
            used_gpus,
            running_tasks,
            pending_tasks,
            own_tasks,
            digest,
            last_order,
            orders_at_starts,
            skipped_seq,
            told_all,
            // Volatile: a manifest tells the host after a start.
            queue: _,
            changed_seq: _,
            // Volatile: agents repeat what is not acknowledged.
            reports_taken: _,
            // Volatile: a new coordinator has heard nobody.
            heard_since: _,
            images_taken: _,
        } = host;
        let cluster = &self.clusters[*cluster];
        let placement = cluster.index.facts(*slot, &self.groups);
        let tasks: Vec<_> = tasks.iter().map(|(id, slot)| (*id, self.tasks[*slot].id)).collect();
        picture.show(
            format!("host {id}"),
            fields! {
                cluster: cluster.name,
                status: status,
                capacity: capacity,
                attributes: attributes,
                custom_attributes: custom_attributes,
                given_attributes: given_attributes,
                tags: tags,
                versions: versions,
                instance_id: instance_id,
                agent: agent,
                registered_at: registered_at,
                connected: connected,
                refused: refused,
                refused_until: refused_until,
                connectivity_at: connectivity_at,
                engine: engine,
                engine_at: engine_at,
                storage: storage,
                storage_at: storage_at,
                version: version,
                tasks: tasks,
                used_gpus: used_gpus,
                running_tasks: running_tasks,
                pending_tasks: pending_tasks,
                own_tasks: own_tasks,
                digest: digest,
                last_order: last_order,
                orders_at_starts: orders_at_starts,
                skipped_seq: skipped_seq,
                told_all: told_all,
                placement: placement,
            },
        );
    }

    fn show_task(&self, picture: &mut Picture, task: &Task) {
        let Task {
            id,
            cluster,
            host,
            definition,
            group,
            generation,
            version,
            wish,
            phase,
            created_at,
            demand,
            overrides,
            tags,
            started_by,
            containers,
            gpus,
            checked_health,
            blocked,
            service,
            report,
            timeout_ms,
            provider,
            asked,
            log_driver_mode,
            placed_seq,
            attachments,
        } = task;
        picture.show(
            format!("task {id}"),
            fields! {
                cluster: self.clusters[*cluster].name,
                host: self.hosts[*host].id,
                definition: self.definition_name(*definition),
                group: self.group_name(*group),
                generation: generation,
                version: version,
                wish: wish,
                phase: phase,
                created_at: created_at,
                demand: demand,
                overrides: overrides,
                tags: tags,
                started_by: started_by,
                containers: containers,
                gpus: gpus,
                checked_health: checked_health,
                blocked: blocked,
                service: service.as_ref().map(|service| service.record(self)),
                report: report,
                timeout_ms: timeout_ms,
                provider: provider,
                asked: asked,
                log_driver_mode: log_driver_mode,
                placed_seq: placed_seq,
                attachments: attachments,
            },
        );
    }

    fn show_service(&self, picture: &mut Picture, slot: ServiceSlot) {
        let Service {
            id,
            slot: _,
            cluster,
            name,
            status,
            config,
            tags,
            created_at,
            created_by,
            client_token,
            revisions,
            primary,
            completed,
            deployment,
            launch,
            steady,
            moving,
            // Volatile: messages may be said once more after a start.
            said: _,
            // Volatile: who looks says what he wants.
            wanted: _,
        } = &self.services[slot];
        picture.show(
            format!("service {id}"),
            fields! {
                cluster: self.clusters[*cluster].name,
                name: name,
                status: status,
                config: config,
                tags: tags,
                created_at: created_at,
                created_by: created_by,
                client_token: client_token,
                primary: primary,
                completed: completed,
                deployment: deployment,
                launch: launch,
                steady: steady,
                moving: moving,
                revisions: revisions.len(),
            },
        );
        for (position, revision) in revisions.iter().enumerate() {
            let Revision {
                record,
                definition,
                tasks,
                counts,
                settling,
                unhealthy,
                returned,
                by_provider,
            } = revision;
            let tasks: Vec<_> =
                tasks.iter().map(|(id, slot)| (*id, self.tasks[*slot].id)).collect();
            picture.show(
                format!("service {id} revision {position}"),
                fields! {
                    record: record,
                    definition: self.definition_name(*definition),
                    tasks: tasks,
                    counts: counts,
                    settling: settling,
                    unhealthy: unhealthy,
                    returned: returned,
                    by_provider: by_provider,
                },
            );
        }
    }
}

fn deadline(at: longshore_common::clock::Timestamp, what: &Deadline) -> String {
    match what {
        Deadline::Run(task) => format!("{at:?} the end of task {task}"),
        Deadline::Wait(launch) => format!("{at:?} the end of the wait of launch {launch}"),
        Deadline::Attachments(task) => format!("{at:?} the attachments of task {task}"),
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items
}
