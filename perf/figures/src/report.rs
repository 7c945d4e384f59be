//! The table on the terminal and the raw figures as CSV.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use crate::{Figures, Row, Verdict};

/// The table, and what follows from it.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["measured", "getvpn", "compared with", "difference or ratio", "budget", "verdict"]);
    for row in rows {
        let verdict = row.verdict.text();
        table.add_row([&row.what, &row.ours, &row.reference, &row.against, &row.budget, &verdict]);
    }
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    let kept = count(|v| *v == Verdict::Kept);
    let missed = count(|v| matches!(v, Verdict::Missed(_)));
    let unknown = count(|v| *v == Verdict::Unknown);
    format!("{table}\nbudgets: {kept} kept, {missed} missed, {unknown} not measured")
}

/// The machine's processor, and how busy it is with other things.
pub fn processor() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{model}, load average at the start {load}")
}

/// Every figure of every run.
pub fn write_csv(figures: &Figures, path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
    writer.write_record(["section", "case", "figure", "unit", "run", "value"])?;
    for f in &figures.all {
        let (run, value) = (f.run.to_string(), format!("{:.3}", f.value));
        writer.write_record([f.section, &f.case, f.figure, f.unit, &run, &value])?;
    }
    Ok(writer.flush()?)
}
