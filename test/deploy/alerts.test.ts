// The alert rules: valid, about metrics that there are, firing when they should, and with a runbook.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { createMetrics } from '../../src/admin/metrics.ts'
import { optionsFor } from '../requirements.ts'
import { headingAnchors, metricNamesIn } from './monitoring.ts'

interface Rule {
  alert: string
  expr: string
  annotations: { runbook_url: string; summary: string; description: string }
}

const root = join(import.meta.dirname, '../..')
const file = join(root, 'deploy/prometheus/portcullis.rules.yaml')
const tests = join(import.meta.dirname, 'alerts.yaml')
const { groups } = parse(readFileSync(file, 'utf8')) as { groups: { rules: Rule[] }[] }
const rules = groups.flatMap((group) => group.rules)
const promtool = (...args: string[]) => execFileSync('promtool', args, { encoding: 'utf8' })

t.test('promtool finds the rules valid', optionsFor('alerts'), async (t) => {
  t.match(promtool('check', 'rules', file), `SUCCESS: ${rules.length} rules found`)
})

t.test('each fires when it should, and only then', optionsFor('alerts'), async (t) => {
  t.match(promtool('test', 'rules', tests), 'SUCCESS')
})

t.test('each is tried there, and its runbook is a heading of the guide', async (t) => {
  const tried = readFileSync(tests, 'utf8')
  const guide = readFileSync(join(root, 'docs/guides/troubleshooting.md'), 'utf8')
  const anchors = headingAnchors(guide)
  for (const { alert, annotations } of rules) {
    t.match(tried, `"${alert}"`)
    const [page, anchor = ''] = annotations.runbook_url.split('#')
    t.match(page, /\/docs\/guides\/troubleshooting\.md$/)
    t.ok(anchors.has(anchor), `${alert}: there is #${anchor}`)
  }
})

t.test('each is about metrics that there are', async (t) => {
  const known = new Set((await createMetrics().registry.getMetricsAsJSON()).map(({ name }) => name))
  for (const { alert, expr } of rules) {
    for (const name of metricNamesIn(expr)) t.ok(known.has(name), `${alert}: ${name}`)
  }
})
