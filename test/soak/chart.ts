// Draws a soak: one panel for each thing that is measured, over the same time.
import { drawPanels, evenly } from '../../benchmarks/lab/chart.ts'
import { series, type Point, type Series, type Verdict } from './verdict.ts'

const panels: readonly { title: string; unit: string; lines: readonly Series[] }[] = [
  { title: 'Memory', unit: 'MiB', lines: ['resident', 'held'] },
  { title: 'Descriptors', unit: '', lines: ['descriptors'] },
  { title: 'Event-loop lag, p99', unit: 'ms', lines: ['lag'] },
  { title: 'Latency of a warm manifest', unit: 'ms', lines: ['median', 'p99'] },
]

/** The text of an SVG. */
export function drawSoak(points: readonly Point[], verdicts: readonly Verdict[], minutes: number) {
  const isSteady = verdicts.every((verdict) => verdict.isSteady)
  const title = `${minutes} minutes of mixed pulls, faults, reloads and damage: ${isSteady ? 'steady' : 'growing'}`
  const drawn = panels.map(({ lines, ...panel }) => ({
    ...panel,
    lines: lines.map((key) => ({
      label: `${series[key].name}: ${verdicts.find((one) => one.series === key)?.text ?? ''}`,
      points: points.map(({ at, values }) => ({ x: at, y: values[key] })),
    })),
  }))
  return drawPanels(title, drawn, evenly(minutes, 'min'))
}
