//! `getvpn-perf-plot`: draws the plots of perf/pktgen's report. Each line of its standard input is one
//! plot in JSON, drawn as SVG into the file that it names. Not part of the product.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Deserialize;

const SIZE: (u32, u32) = (900, 420);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x4e, 0x79, 0xa7),
    RGBColor(0xf2, 0x8e, 0x2b),
    RGBColor(0xb0, 0xb7, 0xbf),
    RGBColor(0x59, 0xa1, 0x4f),
    RGBColor(0xe1, 0x57, 0x59),
    RGBColor(0x76, 0xb7, 0xb2),
];

/// Groups of bars, a group for each category and a bar in it for each series; or lines through the same.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plot {
    out: PathBuf,
    title: String,
    x: String,
    y: String,
    #[serde(default)]
    lines: bool,
    categories: Vec<String>,
    series: Vec<Series>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    name: String,
    /// As many as there are categories; none where nothing was measured.
    values: Vec<Option<f64>>,
}

fn main() -> Result<()> {
    for (number, line) in io::stdin().lines().enumerate() {
        let plot: Plot =
            serde_json::from_str(&line?).with_context(|| format!("plot {}: not as expected", number + 1))?;
        let name = plot.out.display().to_string();
        plot.check().with_context(|| name.clone())?;
        let canvas = SVGBackend::new(&plot.out, SIZE).into_drawing_area();
        // The drawing library's error borrows the canvas.
        plot.draw(&canvas).map_err(|error| anyhow!("{name}: {error}"))?;
        canvas.present().map_err(|error| anyhow!("{name}: {error}"))?;
    }
    Ok(())
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Plot {
    fn check(&self) -> Result<()> {
        ensure!(!self.categories.is_empty() && !self.series.is_empty(), "nothing to draw");
        for series in &self.series {
            ensure!(
                series.values.len() == self.categories.len(),
                "{}: {} values for {} categories",
                series.name,
                series.values.len(),
                self.categories.len()
            );
        }
        Ok(())
    }

    fn draw(&self, canvas: &Canvas) -> Result<(), Box<dyn std::error::Error>> {
        let most = self.series.iter().flat_map(|s| s.values.iter().flatten()).copied().fold(0.0, f64::max);
        let top = if most > 0.0 { most * 1.25 } else { 1.0 };
        let count = self.categories.len();
        canvas.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(canvas)
            .caption(&self.title, ("sans-serif", 15))
            .margin(15)
            .x_label_area_size(45)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..count as f64, 0.0..top)?;
        // Only the middle of a category has a label; with many of them, of some.
        let every = count.div_ceil(16);
        let label = |at: &f64| {
            let named = self.categories.iter().enumerate().step_by(every);
            let found = named.filter(|(n, _)| (*n as f64 + 0.5 - at).abs() < 1e-6);
            found.map(|(_, name)| name.clone()).next().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_labels(2 * count + 1)
            .x_label_formatter(&label)
            .label_style(("sans-serif", 13))
            .draw()?;
        let width = 0.8 / self.series.len() as f64;
        for (number, series) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let measured =
                series.values.iter().enumerate().filter_map(|(at, value)| Some((at as f64, (*value)?)));
            let drawn = if self.lines {
                let points: Vec<_> = measured.map(|(at, value)| (at + 0.5, value)).collect();
                chart.draw_series([PathElement::new(points, colour.stroke_width(2))])?
            } else {
                let bars = measured.map(|(at, value)| {
                    let left = at + 0.1 + width * number as f64;
                    Rectangle::new([(left, 0.0), (left + width, value)], colour.filled())
                });
                chart.draw_series(bars)?
            };
            drawn
                .label(&series.name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .label_font(("sans-serif", 13))
            .draw()?;
        Ok(())
    }
}
