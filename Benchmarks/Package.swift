// swift-tools-version: 6.2
import PackageDescription

/// A package of its own, so that a `malloc` that counts never reaches the product.
let package = Package(
  name: "Benchmarks",
  dependencies: [.package(name: "flowos", path: "..")],
  targets: [
    .target(name: "CAllocations"),
    .target(
      name: "Reader", dependencies: [.product(name: "Engine", package: "flowos")],
      swiftSettings: [.swiftLanguageMode(.v6)]),
    .executableTarget(
      name: "flowos-reader", dependencies: ["Reader", .product(name: "FlowOS", package: "flowos")],
      swiftSettings: [.swiftLanguageMode(.v6)]),
    .executableTarget(
      name: "EngineCost",
      dependencies: [
        "CAllocations", "Reader", .product(name: "Engine", package: "flowos"), .product(name: "Modules", package: "flowos"),
      ],
      swiftSettings: [.swiftLanguageMode(.v6)]),
  ]
)
