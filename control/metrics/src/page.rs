//! Metric families as a daemon fills them, and the text that Prometheus reads. No I/O.
//!
//! Names are in base units (seconds, bytes, frames); a counter's `_total` is added here, so that none can lack it.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// The state now.
    Gauge,
    /// How many durations were how long.
    Histogram,
}

/// A bucket of a histogram: its upper bound, and how many are in it and in no lower one.
pub type Bucket = (f64, u64);

/// A metric family: one name and meaning, a value for each set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: String,
    help: String,
    kind: Kind,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Count(u64),
    Number(f64),
    Histogram { sum: f64, count: u64, buckets: Vec<Bucket> },
}

impl Family {
    /// A family without values. `name` without `_total`.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind, help: impl Into<String>) -> Self {
        Self { name: name.into(), help: help.into(), kind, samples: Vec::new() }
    }

    /// Adds a whole number.
    pub fn count(&mut self, labels: &[(&'static str, &str)], value: u64) -> &mut Self {
        self.add(labels, Value::Count(value))
    }

    /// Adds any number; for gauges.
    pub fn number(&mut self, labels: &[(&'static str, &str)], value: f64) -> &mut Self {
        self.add(labels, Value::Number(value))
    }

    /// Adds 1 or 0.
    pub fn truth(&mut self, labels: &[(&'static str, &str)], value: bool) -> &mut Self {
        self.count(labels, value.into())
    }

    /// Adds a histogram; `sum` is that of all that was counted.
    pub fn histogram(
        &mut self,
        labels: &[(&'static str, &str)],
        sum: f64,
        buckets: Vec<Bucket>,
    ) -> &mut Self {
        let count = buckets.iter().map(|(_, n)| n).sum();
        self.add(labels, Value::Histogram { sum, count, buckets })
    }

    fn add(&mut self, labels: &[(&'static str, &str)], value: Value) -> &mut Self {
        let labels = labels.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        self.samples.push(Sample { labels, value });
        self
    }
}

/// All that a daemon shows at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    prefix: String,
    families: Vec<Family>,
}

impl Page {
    /// An empty page whose families are named `prefix_...`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), families: Vec::new() }
    }

    /// Adds to the counter of this name, which there is afterwards. Its values come together however they are
    /// added, because Prometheus wants a family in one piece.
    pub fn counter(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name, Kind::Counter, help)
    }

    /// Adds to the gauge of this name.
    pub fn gauge(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name, Kind::Gauge, help)
    }

    /// Adds to the histogram of this name.
    pub fn histogram(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name, Kind::Histogram, help)
    }

    /// Adds a family whose name has no prefix.
    pub fn push(&mut self, family: Family) {
        self.families.push(family);
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Family {
        let name = format!("{}_{name}", self.prefix);
        let found = self.families.iter().position(|family| family.name == name);
        let place = found.unwrap_or_else(|| {
            self.families.push(Family::new(name, kind, help));
            self.families.len() - 1
        });
        &mut self.families[place]
    }

    /// The names of all families, as Prometheus knows them.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.families.iter().map(|family| match family.kind {
            Kind::Counter => format!("{}_total", family.name),
            Kind::Gauge | Kind::Histogram => family.name.clone(),
        })
    }

    /// The page in Prometheus's text format.
    #[must_use]
    pub fn into_text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string does not fail, nor do the collectors here.
        let _ = prometheus_text::encode(&mut text, &registry);
        text
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, None, kind)?;
            for sample in &family.samples {
                let labels = sample.labels.as_slice();
                if labels.is_empty() {
                    sample.encode(&mut metric, family.kind)?;
                } else {
                    sample.encode(&mut metric.encode_family(&labels)?, family.kind)?;
                }
            }
        }
        Ok(())
    }
}

impl Sample {
    fn encode(&self, metric: &mut MetricEncoder<'_>, kind: Kind) -> fmt::Result {
        match (&self.value, kind) {
            (Value::Count(n), Kind::Counter) => metric.encode_counter::<NoLabelSet, _, u64>(n, None),
            (Value::Number(n), Kind::Counter) => metric.encode_counter::<NoLabelSet, _, u64>(n, None),
            (Value::Count(n), _) => metric.encode_gauge(n),
            (Value::Number(n), _) => metric.encode_gauge(n),
            (Value::Histogram { sum, count, buckets }, _) => {
                metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::new("getvpn_gm");
        page.counter("drops", "dropped frames").count(&[("link", "site"), ("reason", "policy")], 3);
        page.gauge("sa_lifetime_left_seconds", "time left").number(&[("group", "a")], f64::INFINITY);
        page.gauge("up", "whether it is up").truth(&[], true);
        let buckets = vec![(0.5, 2), (f64::INFINITY, 1)];
        page.histogram("recovery_seconds", "how long").histogram(&[("group", "a")], 7.5, buckets);
        page.counter("drops", "dropped frames").count(&[("link", "site"), ("reason", "no_sa")], 0);
        let names: Vec<_> = page.names().collect();
        assert_eq!(names[..2], ["getvpn_gm_drops_total", "getvpn_gm_sa_lifetime_left_seconds"]);
        let expected = [
            "# HELP getvpn_gm_drops_total dropped frames",
            "# TYPE getvpn_gm_drops_total counter",
            "getvpn_gm_drops_total{link=\"site\",reason=\"policy\"} 3",
            "getvpn_gm_drops_total{link=\"site\",reason=\"no_sa\"} 0",
            "# HELP getvpn_gm_sa_lifetime_left_seconds time left",
            "# TYPE getvpn_gm_sa_lifetime_left_seconds gauge",
            "getvpn_gm_sa_lifetime_left_seconds{group=\"a\"} +Inf",
            "# HELP getvpn_gm_up whether it is up",
            "# TYPE getvpn_gm_up gauge",
            "getvpn_gm_up 1",
            "# HELP getvpn_gm_recovery_seconds how long",
            "# TYPE getvpn_gm_recovery_seconds histogram",
            "getvpn_gm_recovery_seconds_bucket{group=\"a\",le=\"0.5\"} 2",
            "getvpn_gm_recovery_seconds_bucket{group=\"a\",le=\"+Inf\"} 3",
            "getvpn_gm_recovery_seconds_sum{group=\"a\"} 7.5",
            "getvpn_gm_recovery_seconds_count{group=\"a\"} 3",
        ];
        assert_eq!(page.into_text().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_an_operator_named_cannot_break_the_format() {
        let mut page = Page::new("getvpn_gm");
        page.gauge("sas", "SAs").count(&[("group", "a\"b\\c\nd")], 1);
        assert!(page.into_text().ends_with("getvpn_gm_sas{group=\"a\\\"b\\\\c\\nd\"} 1\n"));
    }
}
