// The status page, `/`: files of the gateway only, as they are in `page/`, and what it says to those
// who may not see it.
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import type { FastifyInstance, FastifyReply } from 'fastify'

const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const folder = join(import.meta.dirname, 'page')

/** A Fastify plugin. */
export async function statusPage(admin: FastifyInstance): Promise<void> {
  const page = readFileSync(join(folder, 'index.html'), 'utf8')
  const policy = securityPolicy(page)
  admin.get('/', async (_request, reply) => sendPage(reply, page, policy))
  const plots = dirname(createRequire(import.meta.url).resolve('uplot'))
  const files = [
    ...readdirSync(folder).map((name) => join(folder, name)),
    join(plots, 'uPlot.esm.js'),
    join(plots, 'uPlot.min.css'),
  ]
  for (const file of files) {
    const type = types[extname(file)]
    if (type === undefined) continue
    const content = readFileSync(file)
    admin.get(
      `/page/${file.slice(dirname(file).length + 1)}`,
      { schema: { hide: true } },
      (_request, reply) => reply.type(type).send(content),
    )
  }
}

/** For a person who opens it in a browser and is refused: `reason` is that of the refusal. */
export function sendRefusedPage(reply: FastifyReply, reason: string): FastifyReply {
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Portcullis: not for everybody</title>
<link rel="icon" href="data:,">
<h1>This page wants to know who you are</h1>
<p>${reason}</p>
<ol>
<li>Have a client certificate issued: <code>portcullis pki client NAME --for browser</code>, or by whoever
runs the authority in <code>admin.tls.clientCa</code>.</li>
<li>Import its <code>.p12</code> file into this browser, under <em>your certificates</em>.</li>
<li>Close the browser, open this page again, and choose the certificate when asked.</li>
</ol>
<p>With a certificate already: a rule of the policy has to give it <code>admin:read</code>.</p>
</html>`
  return sendPage(reply.code(403), page, securityPolicy(page))
}

function sendPage(reply: FastifyReply, page: string, policy: string): FastifyReply {
  return reply.header('content-security-policy', policy).type('text/html; charset=utf-8').send(page)
}

/** Only what comes from here is run and shown; of what stands in the page itself the map of its modules. */
function securityPolicy(page: string): string {
  const [, map] = /<script type="importmap">(.*?)<\/script>/s.exec(page) ?? []
  const hash =
    map === undefined ? '' : ` 'sha256-${createHash('sha256').update(map).digest('base64')}'`
  return [
    "default-src 'none'",
    `script-src 'self'${hash}`,
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
