// One image of 1 GiB to 10,000 nodes in 200 sites, in each of the ways of scenarios.ts: prints the table of
// docs/guides/region-and-sites.md and draws its plots. `node benchmarks/simulation/main.ts`, half a minute.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatTable } from '../../src/cli/output/table.ts'
import { byRatio, drawBars, drawPanels } from '../lab/chart.ts'
import { GiB } from '../lab/content.ts'
import { readFigures } from './figures.ts'
import { rollOut, type Outcome } from './rollout.ts'
import { scenarios, world } from './scenarios.ts'

/** USD for a thousand requests: S3 Standard in us-east-1 by its price list. */
const prices = { gets: 0.0004, puts: 0.005 }

const images = join(import.meta.dirname, '../../docs/images')
const minute = 60

const figures = readFigures()
const outcomes = scenarios.map((scenario) => ({
  scenario,
  outcome: rollOut(scenario, figures, world),
}))

/** When so many of the nodes had all of it, from 0 to 1. */
function timeOf({ times }: Outcome, share: number): number {
  return times[Math.max(0, Math.ceil(share * times.length) - 1)] ?? NaN
}

function spoken(seconds: number): string {
  if (seconds >= 90 * minute) return `${(seconds / 3600).toFixed(1)} h`
  return `${(seconds / minute).toFixed(1)} min`
}

function count(value: number, digits = 0): string {
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}

function rowOf({ outcome, scenario }: (typeof outcomes)[number]): string[] {
  const { upstream, linkBytes, replicas, largest, store } = outcome
  const most = (of: (one: (typeof replicas)[number]) => number) => Math.max(...replicas.map(of))
  const price = (store.gets * prices.gets + store.puts * prices.puts) / 1000
  return [
    scenario.name,
    ...[0.5, 0.99, 1].map((share) => spoken(timeOf(outcome, share))),
    count(upstream.bytes / GiB, 1),
    count(upstream.requests),
    count(linkBytes / GiB),
    replicas.length === 0
      ? '-'
      : `${count(most(({ bytes }) => bytes / GiB))} GiB, ${count(most(({ requests }) => requests))}, ${count(most(({ cpuSeconds }) => cpuSeconds))} s`,
    largest === undefined
      ? '-'
      : `${count(largest.bytes / GiB)} GiB, ${count(largest.cpuSeconds)} s`,
    store.gets + store.puts === 0 ? '-' : `${store.gets} + ${store.puts}, ${price.toFixed(4)} USD`,
  ]
}

process.stdout.write(
  formatTable(
    [
      { title: 'way' },
      { title: '50 %', right: true },
      { title: '99 %', right: true },
      { title: '100 %', right: true },
      { title: 'upstream GiB', right: true },
      { title: 'requests', right: true },
      { title: 'links GiB', right: true },
      { title: 'most of a replica: sent, requests, CPU' },
      { title: 'largest site' },
      { title: 'store: GET + PUT' },
    ],
    outcomes.map(rowOf),
  ),
)

const ticks = [5, 7, 10, 15, 30, 60, 120, 300, 720].map((minutes) => ({
  x: minutes * minute,
  label: minutes < 60 ? `${minutes} min` : `${minutes / 60} h`,
}))
const shares = Array.from({ length: 51 }, (_, n) => n / 50)
// A region takes the same time as none: its sites have the same links.
const drawn = outcomes.filter(({ scenario: { kind } }) => kind !== 'region')
writeFileSync(
  join(images, 'rollout.svg'),
  drawPanels(
    '1 GiB to 10,000 nodes in 200 sites behind 20 Mbit/s each',
    [
      {
        title: 'Nodes that have the image',
        unit: '% of all',
        lines: drawn.map(({ scenario: { name }, outcome }) => ({
          label: `${name}: all after ${spoken(timeOf(outcome, 1))}`,
          points: shares.map((share) => ({ x: timeOf(outcome, share), y: share * 100 })),
        })),
      },
    ],
    byRatio(ticks),
  ),
)
const mostBytes = Math.max(...outcomes.map(({ outcome }) => outcome.upstream.bytes))
writeFileSync(
  join(images, 'rollout-upstream.svg'),
  drawBars(
    'What the upstream sends for it, by orders of magnitude',
    outcomes.map(({ scenario: { name }, outcome: { upstream } }) => ({
      label: name,
      text: `${count(upstream.bytes / GiB)} GiB, ${count(upstream.requests)} requests`,
      length: Math.log10(1 + (upstream.bytes / GiB) * 9) / Math.log10(1 + (mostBytes / GiB) * 9),
    })),
  ),
)
