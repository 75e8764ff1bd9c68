// swift-tools-version: 6.2
import PackageDescription

/// A package of its own, so that a `malloc` that counts never reaches the product.
let package = Package(
  name: "Benchmarks",
  dependencies: [.package(name: "flowos", path: "..")],
  targets: [
    .target(name: "CAllocations"),
    .executableTarget(
      name: "EngineCost",
      dependencies: [
        "CAllocations", .product(name: "Engine", package: "flowos"), .product(name: "Modules", package: "flowos"),
      ],
      swiftSettings: [.swiftLanguageMode(.v6)]),
  ]
)
