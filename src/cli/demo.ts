// `portcullis demo`: the whole of it on this machine, with nothing else installed.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startGateway } from '../app.ts'
import { loadConfig } from '../config/load.ts'
import { pullImage, type PullStep } from '../demo/puller.ts'
import { createSite, demoRepository, demoUpstream, writeHosts, type Site } from '../demo/site.ts'
import { createLog } from '../log/log.ts'
import { defineCommand } from './command.ts'
import { printLine, printTable } from './output/print.ts'
import { shellWord } from '../rules/shell-word.ts'

const tag = '1.0'

export const command = defineCommand({
  usage: 'demo [--keep]',
  summary: 'Pulls a sample image through a gateway by mutual TLS, cold and warm; --keep stays up.',

  options: {
    keep: { type: 'boolean', default: false, help: 'stay up, with commands to try printed' },
  },
  takesArguments: false,

  async run({ values }) {
    const folder = mkdtempSync(join(tmpdir(), 'portcullis-demo-'))
    try {
      return await demonstrate(folder, values.keep)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
})

async function demonstrate(folder: string, keep: boolean): Promise<number> {
  say('Certificates, a sample registry behind mutual TLS, and a gateway in front of it ...')
  const site = await createSite(folder)
  const config = await loadConfig(site.config)
  const log = await createLog(config.log)
  const gateway = await startGateway(config, { log: log.logger })
  const url = `https://localhost:${gateway.port}`
  try {
    const cold = await pull('Cold: the gateway asks the registry', site, url)
    const warm = await pull('Warm: everything comes from the cache', site, url)
    const asked = warm.filter(({ source }) => source === 'upstream').length
    say(`\nThe cold pull sent ${cold.length} requests, every digest was right.`)
    if (asked > 0) {
      say(`The warm pull should have needed no upstream, but it asked ${asked} times.`)
      return 1
    }
    say('The warm pull sent the same requests, and the registry was not asked once.')
    if (keep) await stay(site, url, gateway.adminPort)
    return 0
  } finally {
    await gateway.close(1000)
    await site.upstream.close()
    log.close()
  }
}

type Row = PullStep & { source: string }

/** Where each answer came from is told by the registry's own record of requests. */
async function pull(title: string, { upstream, node }: Site, url: string): Promise<Row[]> {
  const rows: Row[] = []
  let before = upstream.requests.length
  await pullImage({
    url,
    node,
    upstream: demoUpstream,
    repository: demoRepository,
    tag,
    onStep(step) {
      const source = upstream.requests.length > before ? 'upstream' : sourceOf(step)
      before = upstream.requests.length
      rows.push({ ...step, source })
    },
  })
  say(`\n${title}\n`)
  printTable(
    [
      { title: 'REQUEST' },
      { title: 'STATUS', right: true },
      { title: 'SOURCE' },
      { title: 'BYTES', right: true },
      { title: 'MS', right: true },
    ],
    rows.map(({ request, status, source, bytes, ms }) => [
      request,
      String(status),
      source,
      String(bytes),
      ms.toFixed(1),
    ]),
  )
  return rows
}

function sourceOf({ request }: PullStep): string {
  return request.endsWith('/v2/') ? 'gateway' : 'cache'
}

async function stay({ folder }: Site, url: string, adminPort: number): Promise<void> {
  const at = (...parts: string[]) => shellWord(join(folder, ...parts))
  const hosts = shellWord(writeHosts(folder, url))
  const pair = `--cert ${at('certs/edge-1.crt')} --key ${at('certs/edge-1.key')} --cacert ${at('certs/ca.crt')}`
  const host = url.replace('https://', '')
  say(`
It stays up until Ctrl-C. To try next, in another terminal:

curl ${pair} '${url}/v2/${demoRepository}/manifests/${tag}?ns=${demoUpstream}'
curl ${pair} -H 'X-Registry: ${demoUpstream}' ${url}/v2/${demoRepository}/tags/list
curl http://127.0.0.1:${adminPort}/metrics

mkdir -p ${at('skopeo')} && cp ${at('certs/ca.crt')} ${at('skopeo/ca.crt')}
cp ${at('certs/edge-1.crt')} ${at('skopeo/client.cert')} && cp ${at('certs/edge-1.key')} ${at('skopeo/client.key')}
skopeo inspect --cert-dir ${at('skopeo')} docker://${host}/${demoUpstream}/${demoRepository}:${tag}

ctr images pull --hosts-dir ${hosts} ${demoUpstream}/${demoRepository}:${tag}
ctr run --rm ${demoUpstream}/${demoRepository}:${tag} demo
`)
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
}

function say(text: string): void {
  for (const line of text.split('\n')) printLine(line)
}
