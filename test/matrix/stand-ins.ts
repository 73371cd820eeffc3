// Stand-ins for the three images of docker-compose.yml where no registry can be reached: programs of
// this machine with the libraries they load, and this checkout. `node test/matrix/stand-ins.ts`
// builds them and prints the variables that docker-compose.yml reads.
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { run, succeed } from '../e2e/lab/program.ts'
import { findProgram } from '../requirements.ts'

const root = join(import.meta.dirname, '../..')

interface Image {
  /** Variable of docker-compose.yml. */
  variable: string
  name: string
  /** Paths inside, by program of this machine. */
  programs: Record<string, string>
  /** Instructions of a Dockerfile. */
  changes: readonly string[]
  /** Writes what else belongs to it. */
  add: (folder: string) => void | Promise<void>
}

const images: readonly Image[] = [
  {
    variable: 'REGISTRY_IMAGE',
    name: 'portcullis-stand-in/registry',
    programs: { 'docker-registry': '/bin/registry' },
    changes: ['ENTRYPOINT ["/bin/registry", "serve", "/etc/registry.json"]', 'EXPOSE 5000'],
    add: (folder) => {
      const storage = { filesystem: { rootdirectory: '/var/lib/registry' } }
      const config = { version: '0.1', storage, http: { addr: ':5000' } }
      writeFileSync(join(folder, 'etc/registry.json'), JSON.stringify(config))
    },
  },
  {
    variable: 'NGINX_IMAGE',
    name: 'portcullis-stand-in/nginx',
    programs: { nginx: '/usr/sbin/nginx' },
    changes: ['CMD ["nginx"]'],
    add: (folder) => {
      mkdirSync(join(folder, 'var/log/nginx'), { recursive: true })
    },
  },
  {
    variable: 'PORTCULLIS_IMAGE',
    name: 'portcullis-stand-in/gateway',
    programs: { [process.execPath]: '/usr/local/bin/node' },
    changes: changesOfDockerfile(),
    add: addGateway,
  },
]

/**
 * Builds all three in the Docker engine: their names, by the variables that name them.
 * @param env says where the engine is, unless this process's own environment does
 */
export async function buildStandIns(
  env: Record<string, string> = {},
): Promise<Record<string, string>> {
  for (const image of images) await build(image, env)
  return Object.fromEntries(images.map(({ variable, name }) => [variable, name]))
}

async function build(
  { name, programs, changes, add }: Image,
  env: Record<string, string>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-image-'))
  try {
    const tree = join(folder, 'tree')
    addBase(tree)
    for (const [program, target] of Object.entries({ busybox: '/bin/busybox', ...programs })) {
      await addProgram(tree, program, target)
    }
    await add(tree)
    const archive = join(folder, 'image.tar')
    // The cache is the gateway's own, everything else root's.
    const cache = './var/lib/portcullis'
    const owner = (id: number) => [`--owner=${id}`, `--group=${id}`, '--numeric-owner', '-C', tree]
    await succeed('tar', ['-cf', archive, ...owner(0), `--exclude=${cache}`, '.'])
    await succeed('tar', ['-rf', archive, ...owner(1000), cache])
    const path = 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    const options = [path, ...changes].flatMap((change) => ['--change', change])
    await succeed('docker', ['import', ...options, archive, name], { env })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function addBase(tree: string): void {
  for (const folder of ['bin', 'etc', 'tmp', 'run', 'usr/sbin', 'usr/local/bin']) {
    mkdirSync(join(tree, folder), { recursive: true })
  }
  for (const folder of ['var/lib/registry', 'var/lib/portcullis']) {
    mkdirSync(join(tree, folder), { recursive: true })
  }
  writeFileSync(
    join(tree, 'etc/passwd'),
    'root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/app:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n',
  )
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n')
  for (const command of ['sh', 'wget']) symlinkSync('busybox', join(tree, 'bin', command))
}

async function addProgram(tree: string, program: string, target: string): Promise<void> {
  const source = program.startsWith('/') ? program : findProgram(program)
  if (source === undefined) {
    throw new Error(
      `${program} is missing, which the stand-in images are made of (Debian: apt-get install busybox nginx-light docker-registry)`,
    )
  }
  copy(source, join(tree, target))
  // A static program has no libraries, and ldd says so by its exit code.
  const { stdout } = await run('ldd', [source])
  for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    copy(library, join(tree, library))
  }
}

/** What the last stage of deploy/Dockerfile says of the image; its volume is left to whoever runs it. */
function changesOfDockerfile(): string[] {
  const text = readFileSync(join(root, 'deploy/Dockerfile'), 'utf8')
  const [stage = ''] = text.split(/^FROM /m).slice(-1)
  return stage.match(/^(ENV|WORKDIR|USER|EXPOSE|HEALTHCHECK|ENTRYPOINT|CMD) .*$/gm) ?? []
}

/** The production packages as the lock file has them, and the program. */
async function addGateway(tree: string): Promise<void> {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean; optional?: boolean }>
  }
  const needed = Object.entries(lock.packages)
    .filter(
      ([path, { dev, devOptional, optional }]) => path !== '' && !(dev ?? devOptional ?? optional),
    )
    .map(([path]) => path)
  for (const path of ['package.json', 'bin', 'docs/reference', ...needed]) {
    copy(join(root, path), join(tree, 'app', path))
  }
  await succeed(join(root, 'scripts/build'), [join(tree, 'app/dist')])
  symlinkSync('/app/bin/portcullis.cjs', join(tree, 'usr/local/bin/portcullis'))
  mkdirSync(join(tree, 'usr/bin'), { recursive: true })
  symlinkSync('/bin/busybox', join(tree, 'usr/bin/env'))
}

function copy(source: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true })
  // Links of the system's folders are followed: what they name gets their path inside.
  if (statSync(source).isDirectory()) cpSync(source, target, { recursive: true })
  else copyFileSync(source, target)
}

if (import.meta.main) {
  for (const [variable, name] of Object.entries(await buildStandIns())) {
    process.stdout.write(`export ${variable}=${name}\n`)
  }
}
