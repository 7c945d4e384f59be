//! Nanoseconds a packet by stage, as stacked bars.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::sections::{Bar, Stages};
use getvpn_perf_figures::Figures;

const COLOURS: [RGBColor; 7] = [
    RGBColor(0x4e, 0x79, 0xa7),
    RGBColor(0xf2, 0x8e, 0x2b),
    RGBColor(0x59, 0xa1, 0x4f),
    RGBColor(0xb0, 0xb7, 0xbf),
    RGBColor(0x76, 0xb7, 0xb2),
    RGBColor(0xed, 0xc9, 0x48),
    RGBColor(0xe1, 0x57, 0x59),
];

/// Draws the bars of all stages that were measured; nothing when there are none.
pub fn draw(figures: &Figures, path: &Path, title: &str) -> Result<()> {
    let bars: Vec<Bar> = Stages::bars(figures).into_iter().filter(|bar| bar.total().is_finite()).collect();
    if bars.is_empty() {
        return Ok(());
    }
    // The drawing library's error borrows the canvas.
    draw_bars(&bars, path, title).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw_bars(bars: &[Bar], path: &Path, title: &str) -> Result<(), Box<dyn std::error::Error>> {
    let rows = i32::try_from(bars.len())?;
    let longest = bars.iter().map(Bar::total).fold(0.0, f64::max);
    let names = stage_names(bars);
    let height = u32::try_from(rows)? * 34 + 140;
    let canvas = SVGBackend::new(path, (1100, height)).into_drawing_area();
    canvas.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&canvas)
        .caption(title, ("sans-serif", 15))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(170)
        .build_cartesian_2d(0.0..longest * 1.2, (0..rows).into_segmented())?;
    let label = |place: &SegmentValue<i32>| match place {
        SegmentValue::CenterOf(row) => usize::try_from(rows - 1 - row)
            .ok()
            .and_then(|i| bars.get(i))
            .map_or(String::new(), |bar| bar.name.clone()),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_desc("ns a packet")
        .y_labels(bars.len())
        .y_label_formatter(&label)
        .label_style(("sans-serif", 13))
        .draw()?;
    for (number, name) in names.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let pieces = bars.iter().zip((0..rows).rev()).filter_map(|(bar, row)| {
            let (from, to) = bar.span(name)?;
            let mut piece = Rectangle::new(
                [(from, SegmentValue::Exact(row)), (to, SegmentValue::Exact(row + 1))],
                colour.filled(),
            );
            piece.set_margin(5, 5, 0, 0);
            Some(piece)
        });
        chart
            .draw_series(pieces)?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    chart.draw_series(bars.iter().zip((0..rows).rev()).map(|(bar, row)| {
        let total = format!("{:.0}", bar.total());
        Text::new(total, (bar.total() + longest * 0.01, SegmentValue::CenterOf(row)), ("sans-serif", 12))
    }))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(("sans-serif", 13))
        .draw()?;
    canvas.present()?;
    Ok(())
}

/// Every stage once, in the order of its first appearance.
fn stage_names(bars: &[Bar]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (name, _) in bars.iter().flat_map(|bar| &bar.stages) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

impl Bar {
    fn total(&self) -> f64 {
        self.stages.iter().map(|(_, ns)| ns).sum()
    }

    /// Where a stage begins and ends on the bar. A rest below nothing, which noise can cause, has no width.
    fn span(&self, stage: &str) -> Option<(f64, f64)> {
        let at = self.stages.iter().position(|(name, _)| *name == stage)?;
        let from: f64 = self.stages[..at].iter().map(|(_, ns)| ns.max(0.0)).sum();
        Some((from, from + self.stages[at].1.max(0.0)))
    }
}
