// nginx, as a server of files, which is also the origin of all who cache, and as a cache itself.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { freePort } from '../../test/e2e/lab/program.ts'
import { repository } from './content.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import { isListening, startServer, type Identities, type Server } from './server.ts'

export interface Origin extends Server {
  /** The same without client certificates, for a peer that has none to show. */
  openPort: number
  accessLog: string
}

/** Starts nginx with the files of `content`; cold images and blobs can be added while it runs. */
export async function startOrigin(
  scope: Scope,
  options: { folder: string; identities: Identities; content: SampleContent },
): Promise<Origin> {
  const folder = subfolder(options.folder, 'origin')
  const { content, identities } = options
  const [port, openPort] = [await freePort(), await freePort()]
  mkdirSync(join(folder, 'files/v2'), { recursive: true })
  addFiles(folder, content)
  const files = `root files; location = /v2/ { return 200 "{}"; } ${manifestLocations(content)} ${laterManifests}`
  const server = await startNginx(scope, {
    name: 'nginx static',
    folder,
    port,
    http: `
      server { listen 127.0.0.1:${port} ssl; ${mutual(identities)} ${files} }
      server { listen 127.0.0.1:${openPort} ssl; ssl_verify_client off; ${files} }
    `,
    identities,
  })
  return { ...server, openPort, accessLog: join(folder, 'access.log') }
}

/** Puts `content` where the origin finds it. */
export function addFiles(folder: string, { blobs, manifests, tags }: SampleContent): void {
  const target = subfolder(folder, 'files/v2', repository, 'blobs')
  for (const [digest, bytes] of blobs) writeFileSync(join(target, digest), bytes)
  const names = subfolder(folder, 'files/v2', repository, 'manifests')
  for (const [name, digest] of [
    ...[...manifests.keys()].map((key) => [key, key] as const),
    ...tags,
  ]) {
    const manifest = manifests.get(digest)
    if (manifest === undefined) throw new Error(`${digest} is no manifest`)
    writeFileSync(join(names, name), manifest.bytes)
  }
}

/** Starts nginx with `proxy_cache`, all of it in use, in front of the server on `originPort`. */
export async function startNginxCache(
  scope: Scope,
  options: { folder: string; identities: Identities; originPort: number },
): Promise<Server> {
  const { identities, originPort } = options
  const folder = subfolder(options.folder, 'nginx-cache')
  const port = await freePort()
  return startNginx(scope, {
    name: 'nginx proxy_cache',
    folder,
    port,
    http: `
      upstream origin { server 127.0.0.1:${originPort}; keepalive 32; }
      proxy_cache_path cache levels=2 keys_zone=content:10m use_temp_path=off;
      server {
        listen 127.0.0.1:${port} ssl; ${mutual(identities)}
        location / {
          proxy_pass https://origin;
          proxy_http_version 1.1;
          proxy_set_header Connection "";
          proxy_ssl_certificate ${identities.client.cert};
          proxy_ssl_certificate_key ${identities.client.key};
          proxy_ssl_trusted_certificate ${identities.ca};
          proxy_ssl_verify on;
          # nginx compares with DNS names only.
          proxy_ssl_name gateway.test;
          proxy_ssl_protocols TLSv1.3;
          proxy_cache content;
          proxy_cache_valid 200 1d;
          proxy_cache_lock on;
          proxy_cache_lock_timeout 60s;
          proxy_cache_lock_age 60s;
        }
      }
    `,
    identities,
  })
}

async function startNginx(
  scope: Scope,
  options: {
    name: string
    folder: string
    port: number
    http: string
    identities: Identities
  },
): Promise<Server> {
  const { name, folder, port, http, identities } = options
  const { cert, key } = identities.server
  const file = join(folder, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path tmp/${kind};`)
    .join(' ')
  subfolder(folder, 'tmp')
  writeFileSync(
    file,
    `
    daemon off; worker_processes 1; pid nginx.pid;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 4096; }
    http {
      access_log access.log combined buffer=8k flush=500ms;
      ${temporary}
      sendfile on; tcp_nopush on; tcp_nodelay on;
      keepalive_timeout 75s; keepalive_requests 100000000;
      open_file_cache max=10000 inactive=60s; open_file_cache_min_uses 1;
      ssl_certificate ${cert}; ssl_certificate_key ${key};
      ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
      ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
      ${http}
    }
    `,
  )
  return startServer(scope, {
    name,
    folder,
    command: 'nginx',
    args: ['-p', folder, '-c', file, '-e', 'error.log'],
    ready: async () => ((await isListening(port)) ? port : undefined),
  })
}

function mutual({ ca }: Identities): string {
  return `ssl_verify_client on; ssl_client_certificate ${ca};`
}

/** Files have no media type of their own: each manifest gets a location that says it. */
function manifestLocations({ manifests, tags }: SampleContent): string {
  const names = [...[...manifests.keys()].map((digest) => [digest, digest] as const), ...tags]
  return names
    .map(
      ([name, digest]) => `location = "/v2/${repository}/manifests/${name}" {
        default_type ${manifests.get(digest)?.mediaType}; add_header Docker-Content-Digest "${digest}";
      }`,
    )
    .join('\n')
}

/** Those that come while it runs are no indexes; tags of cold images say their digest. */
const laterManifests = ['cold-', 'sha256:']
  .map(
    (prefix) => `location ~ "/manifests/${prefix}([0-9a-f]+)$" {
      default_type ${mediaTypes.ociManifest}; add_header Docker-Content-Digest "sha256:$1";
    }`,
  )
  .join('\n')
