#!/usr/bin/env node
// Starts the program; on a Node that is too old for it, says which one is needed. Written so that any
// Node can read it.
'use strict'
var fs = require('fs')
var path = require('path')

var root = path.join(__dirname, '..')
var wanted = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).engines.node

function numbers(version) {
  return version.match(/\d+/g).map(Number)
}

var least = numbers(wanted)
var given = numbers(process.version)
var isOld = given[0] < least[0] || (given[0] === least[0] && given[1] < least[1])

if (isOld) {
  process.stderr.write(
    'portcullis needs Node ' +
      wanted +
      ', and this is ' +
      process.version +
      ' (' +
      process.execPath +
      '). Install a newer one from your distribution or https://nodejs.org.\n',
  )
  process.exitCode = 2
} else {
  // The package has what was built; a checkout runs its sources.
  var built = path.join(root, 'dist', 'main.js')
  process.argv[1] = fs.existsSync(built) ? built : path.join(root, 'src', 'main.ts')
  require('module').runMain()
}
