// swift-tools-version: 6.2
import PackageDescription

/// A flowos with two modules of its own. In a repository of yours the dependency is
/// `.package(url: "https://github.com/...", branch: "main")`.
let package = Package(
  name: "shout",
  dependencies: [.package(name: "flowos", path: "../..")],
  targets: [
    .executableTarget(name: "flowos-shout", dependencies: [.product(name: "FlowOS", package: "flowos")]),
    .testTarget(
      name: "ShoutTests", dependencies: ["flowos-shout", .product(name: "ModuleTesting", package: "flowos")]),
  ]
)
