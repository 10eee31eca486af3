from pipeline.media.serving import serve

if __name__ == "__main__":
    serve()
