// The API documents, and Swagger UI to read them and try them out: `/docs`, from local files only. A tenth of
// the memory of a gateway, which is why it is loaded when somebody opens it.
import { readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import Fastify from 'fastify'
import { parse } from 'yaml'
import { GatewayError } from '../errors.ts'
import { errorBody } from '../oci/error-body.ts'
import { withoutCompilers } from '../rules/rare/compilers.ts'

export interface DocsOptions {
  /** The URLs by which a browser reaches the gateway; asked for at each request. */
  gatewayUrls: () => readonly string[]
}

interface Document {
  servers: { variables?: Record<string, object> }[]
}

/** The same way from `src/admin` and from `dist/admin`. */
const folder = join(import.meta.dirname, '../../docs/reference/api')

const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 220 40">
  <path d="M4 38V18a14 14 0 0 1 28 0v20M11 8v30M18 5v33M25 8v30M4 19h28M4 28h28" fill="none" stroke="#fff" stroke-width="2"/>
  <text x="46" y="28" fill="#fff" font-family="sans-serif" font-size="24">Portcullis</text>
</svg>`

/** Answers what is asked of `/docs` and below, after all that is checked of every request. */
export async function createDocs({ gatewayUrls }: DocsOptions): Promise<RequestListener> {
  const app = Fastify(withoutCompilers)
  const adminDocument: unknown = parse(readFileSync(join(folder, 'admin.yaml'), 'utf8'))
  await app.register(fastifySwagger, {
    mode: 'static',
    specification: { path: join(folder, 'ociregistry.yaml'), baseDir: folder },
  })
  await app.register(fastifySwaggerUi, {
    routePrefix: '/docs',
    theme: { title: 'Portcullis' },
    logo: { type: 'image/svg+xml', content: logo, href: '/docs' },
    transformSpecification: (document, { hostname }) =>
      withGateway(document as Document, gatewayUrls(), hostname),
    staticCSP: "default-src 'none'",
    transformStaticCSP: () => securityPolicy(gatewayUrls()),
    uiConfig: {
      urls: [
        { name: 'Registry', url: '/docs/json' },
        { name: 'Admin', url: '/docs/admin.json' },
      ],
      // Else a browser shows no client certificate to another origin.
      withCredentials: true,
      requestInterceptor: withSlashes,
      supportedSubmitMethods: ['get', 'head', 'post'],
      displayRequestDuration: true,
    },
  })
  app.get('/docs/admin.json', async () => adminDocument)
  app.setNotFoundHandler((_request, reply) => {
    const error = new GatewayError('NOT_FOUND', 'no such page of the API documents')
    return reply.code(error.status).type('application/json').send(errorBody(error))
  })
  await app.ready()
  return (req, res) => app.routing(req, res)
}

/** The document with the gateway's URLs to choose from, that on the browser's own host first. */
function withGateway(document: Document, urls: readonly string[], hostname: string): Document {
  const [first] = urls
  if (first === undefined) return document
  const near = urls.find((url) => new URL(url).hostname === hostname) ?? first
  const servers = document.servers.map((server) => ({
    ...server,
    variables: { gateway: { ...server.variables?.['gateway'], enum: urls, default: near } },
  }))
  return { ...document, servers }
}

/** Only what comes from here is run and shown, and only the gateway may be called. */
function securityPolicy(urls: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    // The one inline style there is belongs to Swagger UI's logo, which ours replaces.
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src 'self' ${urls.join(' ')}`.trim(),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** Runs in the browser: Swagger UI encodes the slashes of a repository's name. */
function withSlashes(request: Record<string, unknown>): Record<string, unknown> {
  return { ...request, url: String(request['url']).replaceAll(/%2F/gi, '/') }
}
