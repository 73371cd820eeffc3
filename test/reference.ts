// The generated half of docs/reference. `node test/reference.ts` writes it; reference.test.ts
// fails where it is out of date.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format } from 'prettier'
import type { TSchema } from 'typebox'
import { createMetrics } from '../src/admin/metrics.ts'
import type { Shape } from '../src/config/decode.ts'
import { ConfigSchema } from '../src/config/schema.ts'
import { manualPages } from './manual.ts'

const folder = join(import.meta.dirname, '../docs/reference')

export const references: Record<string, () => Promise<string>> = {
  [join(folder, 'config.md')]: () => formatted(configReference()),
  [join(folder, 'metrics.md')]: async () => formatted(await metricsReference()),
  ...(await manualPages(join(folder, '../man'))),
}

if (import.meta.main) {
  for (const [file, render] of Object.entries(references)) writeFileSync(file, await render())
}

async function formatted(markdown: string): Promise<string> {
  return format(markdown, { parser: 'markdown', printWidth: 100 })
}

function configReference(): string {
  // TypeBox's own type is closed: its keywords of ours are not in it.
  const schema: TSchema = ConfigSchema
  const sections = sectionsOf(schema, '')
  return `# Config reference

The config is one YAML file, given by \`--config\` or \`PORTCULLIS_CONFIG\`. \`portcullis check\`
validates it and prints it with every default. The [examples](../../examples) are a start.

- A key that is not listed here is an error. Every problem is told at once, with its path and line.
- Paths are relative to the folder of the config file; \`~\` is the home folder of the gateway's user.
- Sizes have a unit: \`B\`, \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\`, or \`kB\`, \`MB\`, \`GB\`, \`TB\`. Durations: \`ms\`,
  \`s\`, \`m\`, \`h\`, \`d\`.
- Secrets are never in this file: they come from files and environment variables that it names.

<!-- Generated from src/config/schema.ts by \`node test/reference.ts\`. -->

${sections.join('\n\n')}
`
}

/** One heading and table per section, and those below it. */
function sectionsOf(shape: Shape, path: string): string[] {
  const entries = Object.entries(shape.properties ?? {}).map(([key, child]) => ({ key, child }))
  const isSection = ({ child }: { child: Shape }) =>
    (child.properties ?? childOf(child) ?? child.items?.properties) !== undefined
  const leaves = entries.filter((entry) => !isSection(entry))
  const rows = leaves.map(
    ({ key, child }) =>
      `| \`${key}\` | ${kindOf(child)} | ${defaultOf(child)} | ${meaning(child)} |`,
  )
  const title = path === '' ? 'Top level' : `\`${path}\``
  const table = ['| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows]
  const own = [`## ${title}`, shape.description ?? '', rows.length === 0 ? '' : table.join('\n')]
  const below = entries.filter(isSection).flatMap(({ key, child }) => {
    const where = path === '' ? key : `${path}.${key}`
    if (child.properties !== undefined) return sectionsOf(child, where)
    if (child.items !== undefined) {
      return [`## \`${where}\`\n\n${meaning(child)}`, ...sectionsOf(child.items, `${where}[]`)]
    }
    const item = childOf(child) ?? child
    // A record of texts is a key of its section like any other.
    if (item.properties === undefined) {
      return [
        `## \`${where}\`\n\n${meaning(child)}`,
        `| key | value | meaning |\n| --- | --- | --- |\n| \`<${child.keyLabel ?? 'key'}>\` | ${kindOf(item)} | ${meaning(item)} |`,
      ]
    }
    return [
      `## \`${where}\`\n\n${child.description ?? ''}`,
      ...sectionsOf(item, `${where}.<${child.keyLabel ?? 'key'}>`),
    ]
  })
  return [own.filter((part) => part !== '').join('\n\n'), ...below]
}

function childOf(shape: Shape): Shape | undefined {
  return Object.values(shape.patternProperties ?? {})[0]
}

function kindOf(shape: Shape): string {
  if (shape.items !== undefined) {
    return `${shape.orOne === true ? 'one or a list' : 'list'}: ${kindOf(shape.items)}`
  }
  if (shape.enum !== undefined) return shape.enum.map((value) => `\`${String(value)}\``).join(', ')
  if (shape.isPath === true) return 'path'
  if (shape.type === 'integer') return `${shape.minimum} to ${shape.maximum}`
  if (shape.type === 'boolean') return '`true`, `false`'
  return shape.valueText ?? 'text'
}

function defaultOf(shape: Shape): string {
  if (shape.defaultText !== undefined) return shape.defaultText
  if (!('default' in shape)) return ''
  return `\`${typeof shape.default === 'string' ? shape.default : JSON.stringify(shape.default)}\``
}

function meaning(shape: Shape): string {
  if (shape.description === undefined) throw new Error('every key needs a description')
  return shape.description
}

async function metricsReference(): Promise<string> {
  const all = await createMetrics().registry.getMetricsAsJSON()
  const own = all.filter(({ name }) => name.startsWith('portcullis_'))
  const rows = own.map((metric) => {
    const { labelNames = [] } = createMetrics().registry.getSingleMetric(
      metric.name,
    ) as unknown as {
      labelNames?: string[]
    }
    const labels = labelNames.map((label) => `\`${label}\``).join(', ')
    // The types are numbers in the typings and words in fact.
    return `| \`${metric.name}\` | ${String(metric.type)} | ${labels} | ${metric.help} |`
  })
  return `# Metrics reference

\`/metrics\` of the admin listener, in the text format of Prometheus. Beside these there are
\`process_*\` and \`nodejs_*\` of the process. Label values come from small sets: a client cannot make
new series. With \`workers\` there is one answer for all of them: counters, histograms and what is under way are sums,
also of workers that have died, the lag of event loops is their mean, and what is one thing, such as the cache, counts once.

<!-- Generated from src/admin by \`node test/reference.ts\`. -->

| metric | type | labels | meaning |
| --- | --- | --- | --- |
${rows.join('\n')}

## Labels

- \`kind\`: what was asked: \`manifest\`, \`blob\`, \`tags\`, \`referrers\`, \`catalog\`, \`base\` (\`/v2/\`), \`other\`.
- \`source\`: where the answer came from: \`memory\` and \`disk\` are the cache, \`fill\` is a download that
  other clients may be following, \`upstream\` was passed through, \`none\` has no content (errors, \`/v2/\`).
- \`part\`: what is reloaded together: \`listen\`, \`admin\`, and whatever else has files; or what of the
  cache: \`folder\`, \`index\`, \`storing\`; or what is done with the shared store: \`read\`, \`write\`.
- \`use\`: the key of the config that names the file.
- \`reason\`, \`cause\`: see [errors](errors.md); of storage failures the code of the system, such as
  \`ENOSPC\` or \`EIO\`, and \`damaged\` for the index.

## Alerts

[\`deploy/prometheus/portcullis.rules.yaml\`](../../deploy/prometheus/portcullis.rules.yaml) has rules for what is
worth an alert, each with a link to what to do; [\`deploy/grafana/portcullis.json\`](../../deploy/grafana/portcullis.json)
is a dashboard. [Monitoring](../guides/monitoring.md) says how to take them into use.
`
}
