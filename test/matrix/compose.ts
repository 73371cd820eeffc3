// The matrix in containers: docker-compose.yml, driven by whichever Compose is installed.
import { join } from 'node:path'
import type { Test } from 'tap'
import { run, type Outcome } from '../e2e/lab/program.ts'
import type { LabOptions } from './lab.ts'
import type { Report } from './report.ts'
import { buildStandIns } from './stand-ins.ts'
import type { Cell } from './walk.ts'

const root = join(import.meta.dirname, '../..')

export interface ComposeOptions extends LabOptions {
  /** Use stand-ins for the images, made from this machine's programs. */
  offline: boolean
}

/** Throws an Error that says what to do where there is no engine, no Compose or no image. */
export async function walkInContainers(
  t: Pick<Test, 'teardown'>,
  { broken = [], offline }: ComposeOptions,
): Promise<Cell[]> {
  await mustHaveEngine()
  const compose = await composeCommand()
  const images = offline ? await buildStandIns() : {}
  const env = { ...images, MATRIX_BREAK: broken.join(',') }
  const project = ['-p', `portcullis-matrix-${process.pid}`, '-f', join(root, 'docker-compose.yml')]
  const call = (...args: string[]): Promise<Outcome> => {
    const [command = '', ...first] = [...compose, ...project, ...args]
    return run(command, first, { env, timeout: 900_000 })
  }
  t.teardown(() => call('down', '--volumes', '--timeout', '5'))

  const gateways = await call('up', '-d', 'two-way-secure', ...otherGateways)
  if (gateways.code !== 0) throw new Error(await complaint('cannot start', gateways, call))
  const walked = await call('run', '--rm', '--no-deps', '-T', 'runner', '--json')
  try {
    return (JSON.parse(walked.stdout) as Report).cells.slice()
  } catch (cause) {
    throw new Error(await complaint('gave no report', walked, call), { cause })
  }
}

const otherGateways = ['one-way-insecure', 'one-way-secure', 'two-way-insecure']

async function mustHaveEngine(): Promise<void> {
  const { code, stderr } = await run('docker', ['version']).catch(() => ({
    code: 1,
    stderr: 'docker is not installed',
  }))
  if (code === 0) return
  const why = stderr.trim().split('\n').at(-1) ?? ''
  throw new Error(
    `no Docker engine answers (${why}): start one, or run the same matrix without containers: ./scripts/matrix --native`,
  )
}

/** `docker compose` where it is installed, or `docker-compose` from 1.29 on. */
async function composeCommand(): Promise<string[]> {
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    const [program = '', ...first] = command
    const found = await run(program, [...first, 'version']).catch(() => undefined)
    if (found?.code === 0) return command
  }
  throw new Error(
    'neither `docker compose` nor `docker-compose` is installed: install one, or run ./scripts/matrix --native',
  )
}

async function complaint(
  what: string,
  { code, stdout, stderr }: Outcome,
  call: (...args: string[]) => Promise<Outcome>,
): Promise<string> {
  const logs = await call('logs', '--no-color', '--tail', '5')
  const advice = 'where the images cannot be fetched, try --offline; without containers, --native'
  return `the containers ${what} (exit ${code}): ${advice}\n${stdout}${stderr}${logs.stdout}`
}
